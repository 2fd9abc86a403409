//! qemu's `edu` device: a DMA engine with its own buffer and 28 bits of address.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use genpool::dma::source::PciDevice;
use genpool::dma::{AddressMask, Device, DmaAddr, IoBuffer, MemoryPool, Width};
use genpool::{FirstFit, Pool};
use vfio_ioctls::VfioDevice;

pub(crate) const VENDOR: u16 = 0x1234;
pub(crate) const DEVICE: u16 = 0x11e8;

/// The value of the identification register.
const IDENTIFICATION: u32 = 0x0100_00ed;
/// The address of the device's own buffer, as the device sees it.
const BUFFER: u64 = 0x4_0000;
/// The longest transfer. The buffer has 4 KiB, of which qemu 7.2 allows all but the last byte.
pub(crate) const MOST: usize = 4095;

const SOURCE: usize = 0x80;
const DESTINATION: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
const START: u64 = 1;
const TO_MEMORY: u64 = 2;

/// Access to the device's registers.
pub(crate) trait Registers {
    fn identification(&self) -> u32;
    fn read(&self, at: usize) -> u64;
    fn write(&mut self, at: usize, value: u64);
}

impl Registers for IoBuffer<'static> {
    fn identification(&self) -> u32 {
        IoBuffer::read(self, 0).expect("a register")
    }

    fn read(&self, at: usize) -> u64 {
        IoBuffer::read(self, at).expect("a register")
    }

    fn write(&mut self, at: usize, value: u64) {
        IoBuffer::write(self, at, value).expect("a register");
    }
}

impl Registers for Arc<VfioDevice> {
    fn identification(&self) -> u32 {
        let mut word = [0; 4];
        self.region_read(0, &mut word, 0);
        u32::from_le_bytes(word)
    }

    fn read(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        self.region_read(0, &mut word, at as u64);
        u64::from_le_bytes(word)
    }

    fn write(&mut self, at: usize, value: u64) {
        self.region_write(0, &value.to_le_bytes(), at as u64);
    }
}

pub(crate) struct Edu<R> {
    registers: R,
}

/// The bit of the PCI command register that allows the device to start transfers.
const BUS_MASTER: u16 = 1 << 2;
const PCI_COMMAND: u64 = 4;

impl Edu<IoBuffer<'static>> {
    /// Accesses the registers through the BAR, by sysfs.
    pub(crate) fn by_sysfs(device: &PciDevice) -> Result<Self, Box<dyn Error>> {
        let config = File::options()
            .read(true)
            .write(true)
            .open(device.folder().join("config"))?;
        let mut command = [0; 2];
        config.read_exact_at(&mut command, PCI_COMMAND)?;
        let command = u16::from_le_bytes(command) | BUS_MASTER;
        config.write_all_at(&command.to_le_bytes(), PCI_COMMAND)?;

        let bar = device.bar(0)?;
        let pool = MemoryPool::<Device>::of_device(Pool::builder().order(12), Width::Four)?;
        pool.add(bar.map()?)?;
        // All registers. They stay mapped as long as this value exists.
        Self::new(pool.dma_alloc_owned_with(bar.size().get(), &FirstFit)?)
    }
}

impl Edu<Arc<VfioDevice>> {
    /// Accesses the registers by VFIO.
    pub(crate) fn by_vfio(device: Arc<VfioDevice>) -> Result<Self, Box<dyn Error>> {
        /// `VFIO_PCI_CONFIG_REGION_INDEX`.
        const CONFIG: u32 = 7;

        let mut command = [0; 2];
        device.region_read(CONFIG, &mut command, PCI_COMMAND);
        let command = u16::from_le_bytes(command) | BUS_MASTER;
        device.region_write(CONFIG, &command.to_le_bytes(), PCI_COMMAND);
        Self::new(device)
    }
}

/// Returns the addresses that the device can reach.
pub(crate) fn mask() -> AddressMask {
    AddressMask::bits(28).expect("28 is a number of bits")
}

impl<R: Registers> Edu<R> {
    fn new(registers: R) -> Result<Self, Box<dyn Error>> {
        match registers.identification() {
            IDENTIFICATION => Ok(Self { registers }),
            other => Err(format!("the device says that it is {other:#x}").into()),
        }
    }

    /// Makes the device read `len` bytes at `addr` into its own buffer.
    pub(crate) fn load(&mut self, addr: DmaAddr, len: usize) -> Result<(), Box<dyn Error>> {
        self.transfer(addr.get(), BUFFER, len, START)
    }

    /// Makes the device write `len` bytes of its own buffer to `addr`.
    pub(crate) fn store(&mut self, addr: DmaAddr, len: usize) -> Result<(), Box<dyn Error>> {
        self.transfer(BUFFER, addr.get(), len, START | TO_MEMORY)
    }

    fn transfer(
        &mut self,
        from: u64,
        to: u64,
        len: usize,
        command: u64,
    ) -> Result<(), Box<dyn Error>> {
        assert!(len <= MOST, "qemu ends where the device's own buffer does");
        let registers = &mut self.registers;
        registers.write(SOURCE, from);
        registers.write(DESTINATION, to);
        registers.write(COUNT, len as u64);
        registers.write(COMMAND, command);
        let begin = Instant::now();
        while registers.read(COMMAND) & START != 0 {
            if begin.elapsed() > Duration::from_secs(10) {
                return Err("the device does not come to an end".into());
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
