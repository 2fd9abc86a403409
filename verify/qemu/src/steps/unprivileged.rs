//! Step 5: the errors of each source for an unprivileged process.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use genpool::dma::source::{Iommu, PageMap, PageSize, RamSource, SourceError, UioMap, Unresolved};
use rustix::process::{Resource, Rlimit};

use super::bar;
use crate::edu;
use crate::machine::find_pci;
use crate::table::{Outcome, Table, wrong};

const STEP: &str = "5 no privilege";
/// A user without privileges.
const NOBODY: u32 = 65534;
const LOCK_LIMIT: u64 = 64 << 10;

/// Runs [`inside`] as that user.
pub(super) fn run(table: &mut Table) {
    let child = Command::new("/proc/self/exe")
        .arg("unprivileged")
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    match child {
        Ok(output) => {
            table.take_over(&String::from_utf8_lossy(&output.stdout));
            table.check(STEP, "the process without privileges", || {
                match output.status.success() {
                    true => Ok("ended well".to_owned()),
                    false => wrong(String::from_utf8_lossy(&output.stderr)),
                }
            });
        }
        Err(error) => table.check(STEP, "start", || Err(error.into())),
    }
}

/// Checks what each source returns to that user.
pub(crate) fn inside() -> ExitCode {
    let mut table = Table::default();
    table.check(STEP, "physical addresses", pagemap);
    table.check(STEP, "locked memory", locked);
    table.check(STEP, "huge pages that are not there", huge);
    table.check(STEP, "a node that is not there", node);
    table.check(STEP, "a BAR", || {
        no_privilege(find_pci(bar::VENDOR, bar::DEVICE)?.bar(bar::MEMORY)?.map())
    });
    table.check(STEP, "a UIO map", || {
        no_privilege(UioMap::open(0, 0)?.map())
    });
    table.check(STEP, "VFIO", || {
        let device = find_pci(edu::VENDOR, edu::DEVICE)?;
        no_privilege(Iommu::open(device.folder(), edu::mask()).map(|_| ()))
    });
    table.sum_up()
}

fn no_privilege<T>(answer: Result<T, SourceError>) -> Outcome {
    match answer {
        Err(error @ SourceError::NoPrivilege { .. }) => Ok(error.to_string()),
        Err(other) => wrong(format!("another error: {other:?}")),
        Ok(_) => wrong("it was given"),
    }
}

fn pagemap() -> Outcome {
    let region = RamSource::new(4096).prefault().map()?;
    match PageMap::open()?.resolve(region) {
        Err(error) if matches!(error.reason, Unresolved::NoPrivilege) => Ok(error.to_string()),
        Err(other) => wrong(format!("another error: {other:?}")),
        Ok(region) => wrong(format!("got {:?}", region.windows())),
    }
}

fn locked() -> Outcome {
    let limit = Rlimit {
        current: Some(LOCK_LIMIT),
        maximum: Some(LOCK_LIMIT),
    };
    rustix::process::setrlimit(Resource::Memlock, limit)?;
    drop(RamSource::new(4096).locked().map()?);
    match RamSource::new(1 << 20).locked().map() {
        Err(
            error @ SourceError::LockLimit {
                limit: Some(LOCK_LIMIT),
                ..
            },
        ) => Ok(error.to_string()),
        Err(other) => wrong(format!("another error: {other:?}")),
        Ok(_) => wrong("it was locked"),
    }
}

fn huge() -> Outcome {
    let two = RamSource::new(1 << 30).pages(PageSize::Huge2M).map();
    let one = RamSource::new(2 << 30).pages(PageSize::Huge1G).map();
    match (two, one) {
        (Err(two @ SourceError::HugePages { .. }), Err(one @ SourceError::HugePages { .. })) => {
            Ok(format!("{two}; {one}"))
        }
        (two, one) => wrong(format!("{two:?}, {one:?}")),
    }
}

fn node() -> Outcome {
    match RamSource::new(4096).node(7).map() {
        Err(error @ SourceError::UnknownNode { node: 7 }) => Ok(error.to_string()),
        other => wrong(format!("{other:?}")),
    }
}
