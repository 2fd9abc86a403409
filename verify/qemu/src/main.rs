//! The init of an emulated machine in which genpool-dma runs on real devices: `ci/qemu.sh` boots it.
//!
//! | arguments | |
//! |---|---|
//! | none, as process 1 | runs all steps, prints a line for each, and switches the machine off |
//! | `unprivileged` | the part of step 5 that runs without privileges |
//! | `check LOG FILE` | on the host: checks that the BAR's file holds what the machine reported |
#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[cfg(target_os = "linux")]
mod bar_file;
#[cfg(target_os = "linux")]
mod edu;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod steps;
#[cfg(target_os = "linux")]
mod table;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["unprivileged"] => steps::unprivileged::inside(),
        ["check", log, file] => bar_file::check(log, file),
        // The kernel passes its own arguments on to init.
        _ if std::process::id() == 1 => machine::run(steps::all),
        _ => {
            eprintln!("this is the init of the machine that ci/qemu.sh boots");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}
