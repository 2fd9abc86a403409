//! The steps on real devices, in an emulated machine, where what they take is there. `ci/qemu.sh` by
//! itself installs it. `GENPOOL_QEMU_APART` in the environment says that it is run elsewhere.
#![cfg(all(target_os = "linux", not(miri)))]

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

/// The script's status where something is missing.
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
        // Not captured, so that everybody is told.
        write!(io::stderr(), "\n{out}").unwrap();
    } else {
        assert!(output.status.success(), "{out}{err}");
    }
}
