//! `serde` implementations for a pool's reports that cannot be derived: an owner is written if it is a string. The
//! other reports derive theirs where they are defined.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::pool::ChunkInfo;
use crate::stats::{Destroyed, Held};

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_struct("Held", 4)?;
        all.serialize_field("addr", &self.addr)?;
        all.serialize_field("size", &self.size)?;
        all.serialize_field("tag", &self.tag)?;
        all.serialize_field("owner", &self.owner_name())?;
        all.end()
    }
}

impl Serialize for Destroyed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_struct("Destroyed", 2)?;
        all.serialize_field("name", &self.name)?;
        all.serialize_field("held", &self.held)?;
        all.end()
    }
}

/// Includes the bytes that are free at the moment, so it is linear in the chunk's granules.
impl Serialize for ChunkInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_struct("ChunkInfo", 6)?;
        all.serialize_field("start", &self.start())?;
        all.serialize_field("size", &self.size())?;
        all.serialize_field("avail", &self.avail())?;
        all.serialize_field("phys", &self.phys())?;
        all.serialize_field("owner", &self.owner_name())?;
        all.serialize_field("draining", &self.is_draining())?;
        all.end()
    }
}
