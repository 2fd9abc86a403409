//! The steps on real devices, in an emulated machine, if what they need is installed. `ci/qemu.sh` run by itself
//! installs it. If the environment has `GENPOOL_QEMU_APART`, the steps are run elsewhere.
#![cfg(all(target_os = "linux", not(miri)))]

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

/// The exit status of the script if something is missing.
const MISSING: i32 = 77;

#[test]
fn real_devices() {
    if std::env::var_os("GENPOOL_QEMU_APART").is_some() {
        writeln!(io::stderr(), "\nskipped: ci/qemu.sh is run apart").unwrap();
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(root.join("ci/qemu.sh"))
        .arg("--no-install")
        .current_dir(root)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if output.status.code() == Some(MISSING) {
        // Written past the capture of the test runner, so that it is always seen.
        write!(io::stderr(), "\n{out}").unwrap();
    } else {
        assert!(output.status.success(), "{out}{err}");
    }
}
