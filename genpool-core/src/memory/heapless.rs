//! Pointers to the heap where there is none.

use core::convert::Infallible;
use core::marker::PhantomData;
use core::ops::Deref;

/// In place of a box, or of a shared count. There is no value of this type.
#[derive(Debug)]
pub(crate) struct Never<T>(Infallible, PhantomData<T>);

impl<T> Deref for Never<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.0 {}
    }
}
