//! Disks that fail, lie or fill up, by the seed.

use avid_store::disk::memory::{DiskAdversary, Operation, OperationKind, Verdict};

use crate::random::Random;
use crate::trace::Trace;

/// How often what happens, per million operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DiskRates {
    /// A read fails.
    pub read_error: u32,
    /// A write, rename or removal fails.
    pub write_error: u32,
    /// A sync fails, which is final for the process.
    pub sync_error: u32,
    /// A write or sync is reported done and never happens.
    pub lost: u32,
    /// A write lands elsewhere in its file.
    pub misdirected: u32,
    /// One bit is written wrong.
    pub flipped: u32,
}

/// A disk that misbehaves at these rates and tells the trace every operation.
#[derive(Debug)]
pub struct FaultyDisk {
    rates: DiskRates,
    random: Random,
    trace: Trace,
    host: u64,
}

impl FaultyDisk {
    /// A disk of a machine.
    #[must_use]
    pub fn new(rates: DiskRates, random: Random, trace: Trace, host: u64) -> Self {
        Self { rates, random, trace, host }
    }

    fn fault(&mut self, what: &'static str, verdict: Verdict) -> Verdict {
        self.trace.event(what, self.host, &[]);
        verdict
    }
}

impl DiskAdversary for FaultyDisk {
    fn at(&mut self, operation: &Operation<'_>) -> Verdict {
        let rates = self.rates;
        let error = std::io::ErrorKind::Other;
        if operation.kind.is_change() {
            let length = (operation.bytes.len() as u64).to_le_bytes();
            self.trace.event("disk change", self.host, &length);
        }
        match operation.kind {
            OperationKind::Read | OperationKind::Open | OperationKind::List => {
                if self.random.chance(rates.read_error) {
                    return self.fault("disk: read error", Verdict::Fail(error));
                }
            }
            OperationKind::Sync | OperationKind::SyncDir => {
                if self.random.chance(rates.sync_error) {
                    return self.fault("disk: sync error", Verdict::Fail(error));
                }
                if self.random.chance(rates.lost) {
                    return self.fault("disk: lost sync", Verdict::Lose);
                }
            }
            OperationKind::Write => return self.on_write(operation),
            _ => {
                if self.random.chance(rates.write_error) {
                    return self.fault("disk: change error", Verdict::Fail(error));
                }
            }
        }
        Verdict::Go
    }
}

impl FaultyDisk {
    fn on_write(&mut self, operation: &Operation<'_>) -> Verdict {
        let rates = self.rates;
        if self.random.chance(rates.write_error) {
            let verdict = Verdict::Fail(std::io::ErrorKind::Other);
            return self.fault("disk: write error", verdict);
        }
        if self.random.chance(rates.lost) {
            return self.fault("disk: lost write", Verdict::Lose);
        }
        if self.random.chance(rates.misdirected) {
            let offset = self.random.below(operation.offset + 1);
            return self.fault("disk: misdirected write", Verdict::Misdirect { offset });
        }
        if self.random.chance(rates.flipped) {
            let bit = self.random.below(operation.bytes.len().max(1) as u64 * 8);
            return self.fault("disk: flipped bit", Verdict::FlipBit { bit });
        }
        Verdict::Go
    }
}
