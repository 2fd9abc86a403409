//! Atomics of the crate `portable-atomic`. On a processor without compare-and-swap it makes each change in a section in
//! which nothing comes in between.
//!
//! The types are wrapped so that zeroed memory can be said to hold them.

use core::ops::Deref;

macro_rules! atomic {
    ($(#[$doc:meta])* $name:ident $(<$param:ident>)?, $value:ty) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name $(<$param>)? (portable_atomic::$name $(<$param>)?);

        impl $(<$param>)? $name $(<$param>)? {
            /// Creates an atomic with this value.
            pub const fn new(value: $value) -> Self {
                Self(portable_atomic::$name::new(value))
            }
        }

        impl $(<$param>)? Deref for $name $(<$param>)? {
            type Target = portable_atomic::$name $(<$param>)?;

            #[inline(always)]
            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        // SAFETY: `portable-atomic` documents that the type has the representation of its value, and the value that is
        // all zeroes is one.
        unsafe impl $(<$param>)? bytemuck::Zeroable for $name $(<$param>)? {}
    };
}

atomic!(
    /// A word.
    AtomicUsize, usize
);
atomic!(
    /// A flag.
    AtomicBool, bool
);
atomic!(
    /// A pointer.
    AtomicPtr<T>, *mut T
);
