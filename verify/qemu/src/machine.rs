//! The emulated machine: file systems, modules, devices, power off.

use std::error::Error;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use genpool::dma::source::PciDevice;
use rustix::mount::MountFlags;
use rustix::system::RebootCommand;

/// Runs the steps as init and powers the machine off.
pub(crate) fn run(steps: impl FnOnce() -> ExitCode) -> ExitCode {
    // Ends the line that the firmware may have left.
    println!();
    match mount() {
        Ok(()) => {
            steps();
        }
        Err(error) => println!("FAILED: {error}"),
    }
    let off = rustix::system::reboot(RebootCommand::PowerOff);
    println!("FAILED: the machine does not switch off: {off:?}");
    ExitCode::FAILURE
}

fn mount() -> Result<(), Box<dyn Error>> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(at)?;
        rustix::mount::mount(kind, at, kind, MountFlags::empty(), None::<&CStr>)
            .map_err(|error| format!("mount {at}: {error}"))?;
    }
    Ok(())
}

/// Loads the modules that the script put into `/modules`, in the order of their names.
pub(crate) fn load_modules() -> Result<usize, Box<dyn Error>> {
    let mut files: Vec<PathBuf> = fs::read_dir("/modules")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.sort();
    for path in &files {
        let file = File::open(path)?;
        rustix::system::finit_module(&file, c"", 0)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(files.len())
}

/// Returns the device with these ids.
pub(crate) fn find_pci(vendor: u16, device: u16) -> Result<PciDevice, Box<dyn Error>> {
    let is = |path: &Path, name: &str, number: u16| {
        fs::read_to_string(path.join(name))
            .is_ok_and(|text| text.trim() == format!("{number:#06x}"))
    };
    for entry in fs::read_dir("/sys/bus/pci/devices")? {
        let path = entry?.path();
        if is(&path, "vendor", vendor) && is(&path, "device", device) {
            return Ok(PciDevice::in_folder(path)?);
        }
    }
    Err(format!("there is no PCI device {vendor:04x}:{device:04x}").into())
}

/// Adds a device's ids to a driver, so that the driver binds it.
pub(crate) fn introduce(driver: &str, vendor: u16, device: u16) -> Result<(), Box<dyn Error>> {
    let path = format!("/sys/bus/pci/drivers/{driver}/new_id");
    write(Path::new(&path), &format!("{vendor:x} {device:x}"))
}

/// Unbinds a device from its driver.
pub(crate) fn unbind(device: &PciDevice) -> Result<(), Box<dyn Error>> {
    write(&device.folder().join("driver/unbind"), &name(device))
}

/// Binds a device to a driver that knows its ids.
pub(crate) fn rebind(driver: &str, device: &PciDevice) -> Result<(), Box<dyn Error>> {
    let path = format!("/sys/bus/pci/drivers/{driver}/bind");
    write(Path::new(&path), &name(device))
}

fn name(device: &PciDevice) -> String {
    let name = device.folder().file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn write(path: &Path, words: &str) -> Result<(), Box<dyn Error>> {
    fs::write(path, words).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Returns the kernel's messages so far.
pub(crate) fn kernel_log() -> io::Result<String> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut file = File::options()
        .read(true)
        .custom_flags(flags)
        .open("/dev/kmsg")?;
    let (mut log, mut record) = (String::new(), [0; 8192]);
    loop {
        match file.read(&mut record) {
            Ok(len) => log.push_str(&String::from_utf8_lossy(&record[..len])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(log),
            // Overwritten before it was read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
        }
    }
}
