//! Throughput of every kernel on chunks of the default size: encode, rebuild, fingerprint, hash.

#![expect(clippy::expect_used, reason = "in a benchmark a panic is the report")]

use avid_coding::digest::{HashKernel, chunk_digests_with};
use avid_coding::gf::Kernel;
use avid_coding::{Codec, Fingerprint, Fp64, Fp128, ReedSolomon, StripeCoder, fingerprint};
use avid_types::limits::CHUNK_BYTES_DEFAULT;
use avid_types::{Digest, FingerprintKind, Params, Slot, Suite};
use divan::Bencher;
use divan::counter::BytesCount;

const SHAPES: [(u8, u8); 3] = [(3, 5), (4, 6), (10, 16)];

#[expect(clippy::print_stdout, reason = "the kernels measured are part of the result")]
fn main() {
    println!("{:?}", avid_coding::kernels());
    divan::main();
}

fn chunks(count: usize) -> Vec<Vec<u8>> {
    let bytes = usize::try_from(CHUNK_BYTES_DEFAULT).expect("a chunk fits in memory");
    let byte = |i: usize| i.wrapping_mul(0x9E37_79B9).to_le_bytes()[2];
    (0..count).map(|j| (0..bytes).map(|i| byte(i + 7919 * j)).collect()).collect()
}

fn views(chunks: &[Vec<u8>]) -> Vec<&[u8]> {
    chunks.iter().map(Vec::as_slice).collect()
}

fn views_mut(chunks: &mut [Vec<u8>]) -> Vec<&mut [u8]> {
    chunks.iter_mut().map(Vec::as_mut_slice).collect()
}

fn params((m, n): (u8, u8)) -> Params {
    Params::with_most_liars(m, n).expect("a valid shape")
}

/// Object bytes of one stripe.
fn stripe_bytes(params: Params) -> BytesCount {
    BytesCount::of_many::<u8>(params.m() * views(&chunks(1)).concat().len())
}

/// Reed-Solomon parity of one stripe, per object byte.
#[divan::bench(args = SHAPES)]
fn encode(bencher: Bencher<'_, '_>, shape: (u8, u8)) {
    let params = params(shape);
    let (code, data, mut parity) =
        (ReedSolomon::new(params), chunks(params.m()), chunks(params.parity()));
    let data = views(&data);
    bencher
        .counter(stripe_bytes(params))
        .bench_local(|| code.encode(&data, &mut views_mut(&mut parity)));
}

/// As many data chunks as there are parity chunks rebuilt, plan included, per object byte.
#[divan::bench(args = SHAPES)]
fn rebuild(bencher: Bencher<'_, '_>, shape: (u8, u8)) {
    let params = params(shape);
    let coder = StripeCoder::new(params, Suite::default());
    let (kept, mut lost) = (chunks(params.m()), chunks(params.parity().min(params.m())));
    let mut slots: Vec<Slot> = params.slots().collect();
    let kept_slots = slots.split_off(lost.len().min(params.parity()));
    let kept: Vec<(Slot, &[u8])> = kept_slots.into_iter().zip(views(&kept)).collect();
    bencher.counter(stripe_bytes(params)).bench_local(|| {
        let mut wanted: Vec<(Slot, &mut [u8])> =
            slots.iter().copied().zip(views_mut(&mut lost)).collect();
        coder.rebuild(&kept, &mut wanted)
    });
}

/// Fingerprint of one chunk at a prepared point.
#[divan::bench(args = Kernel::available())]
fn fp128(bencher: Bencher<'_, '_>, kernel: Kernel) {
    let fp = Fp128::with_kernel(kernel, [0x5A; 16], [0xC3; 16]);
    bench_fingerprint(bencher, &fp);
}

/// Fingerprint of one chunk at a prepared point, 64-bit variant.
#[divan::bench(args = Kernel::available())]
fn fp64(bencher: Bencher<'_, '_>, kernel: Kernel) {
    let fp = Fp64::with_kernel(kernel, [0x5A; 8], [0xC3; 8]);
    bench_fingerprint(bencher, &fp);
}

fn bench_fingerprint(bencher: Bencher<'_, '_>, fp: &dyn Fingerprint) {
    let data = chunks(1);
    let chunk = data.concat();
    bencher.counter(BytesCount::of_slice(&chunk)).bench_local(|| fp.evaluate(&chunk));
}

/// Preparing the kernel's tables for the point of one stripe.
#[divan::bench]
fn prepare_point() -> Box<dyn Fingerprint> {
    fingerprint::at_seed(FingerprintKind::Fp128, divan::black_box(&Digest([7; 32])))
}

/// Tree digests of the chunks of one 3-of-5 stripe.
#[divan::bench(args = HashKernel::available())]
fn hash(bencher: Bencher<'_, '_>, kernel: HashKernel) {
    let data = chunks(5);
    let bytes = BytesCount::of_slice(&data.concat());
    let data = views(&data);
    bencher.counter(bytes).bench_local(|| chunk_digests_with(kernel, &data));
}

/// All of a writer's work on one stripe: parity, digests, fingerprints; per object byte.
#[divan::bench(args = SHAPES)]
fn stripe_encode(bencher: Bencher<'_, '_>, shape: (u8, u8)) {
    let params = params(shape);
    let coder = StripeCoder::new(params, Suite::default());
    let (data, mut parity) = (chunks(params.m()), chunks(params.parity()));
    let data = views(&data);
    bencher
        .counter(stripe_bytes(params))
        .bench_local(|| coder.encode(&data, &mut views_mut(&mut parity)));
}

/// A node's work on one chunk: digest, point, fingerprint.
#[divan::bench]
fn chunk_check(bencher: Bencher<'_, '_>) {
    let coder = StripeCoder::new(params((3, 5)), Suite::default());
    let (data, mut parity) = (chunks(3), chunks(2));
    let fpcc = coder.encode(&views(&data), &mut views_mut(&mut parity)).expect("equal lengths");
    let parity = parity.concat();
    let chunk = parity.get(..parity.len() / 2).expect("two parity chunks");
    bencher
        .counter(BytesCount::of_slice(chunk))
        .bench_local(|| coder.check_chunk(Slot(3), chunk, &fpcc));
}
