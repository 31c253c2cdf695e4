//! `sim`: runs seeds until one of them breaks a promise.

fn main() {
    let hash = sim::runtime::run(1, async {
        let mut world = sim::world::World::started(1, sim::world::Shape::default(), true).await;
        let client = world.client(1);
        let put = client.put("a", &vec![7; 100_000]).await;
        println!("{:?}", put.map(|report| report.placed.len()));
        let read = client.get("a", &[vec![7; 100_000]]).await;
        println!("{:?}", read.map(|(bytes, _)| bytes.len()));
        for line in world.trace.lines() {
            println!("{line}");
        }
        for node in world.nodes() {
            world.kill(node, avid_store::disk::memory::CrashChoice::DropAll);
        }
        println!(
            "{:?} {:?} {}",
            world.trace.counts(),
            world.checker.violation(),
            world.trace.millis()
        );
        world.trace.hash()
    });
    println!("{hash:02x?}");
}
