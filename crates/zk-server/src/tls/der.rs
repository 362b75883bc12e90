//! Walking DER: elements one after the other, borrowed from the input.

use ::der::asn1::{AnyRef, ObjectIdentifier};
use ::der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use super::store::Fault;

/// The elements inside a constructed one.
pub(super) struct Items<'a>(SliceReader<'a>);

impl<'a> Items<'a> {
    /// The elements of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Items<'a>, Fault> {
        Ok(Items(SliceReader::new(bytes)?))
    }

    /// The elements inside the sequence that `bytes` is.
    pub(super) fn of_sequence(bytes: &'a [u8]) -> Result<Items<'a>, Fault> {
        Items::new(bytes)?.sequence()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_finished()
    }

    /// The next element.
    pub(super) fn any(&mut self) -> Result<AnyRef<'a>, Fault> {
        Ok(AnyRef::decode(&mut self.0)?)
    }

    /// The next element with its tag and length.
    pub(super) fn raw(&mut self) -> Result<&'a [u8], Fault> {
        Ok(self.0.tlv_bytes()?)
    }

    /// All bytes that are left, whatever they are.
    pub(super) fn rest(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.0.remaining_len();
        Ok(self.0.read_slice(len)?)
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn of(&mut self, tag: Tag) -> Result<&'a [u8], Fault> {
        let any = self.any()?;
        if any.tag() != tag {
            return Err(Fault::Malformed("an element of another type was expected"));
        }
        Ok(any.value())
    }

    pub(super) fn sequence(&mut self) -> Result<Items<'a>, Fault> {
        Items::new(self.of(Tag::Sequence)?)
    }

    pub(super) fn set(&mut self) -> Result<Items<'a>, Fault> {
        Items::new(self.of(Tag::Set)?)
    }

    pub(super) fn octets(&mut self) -> Result<&'a [u8], Fault> {
        self.of(Tag::OctetString)
    }

    pub(super) fn oid(&mut self) -> Result<ObjectIdentifier, Fault> {
        Ok(self.any()?.decode_as::<ObjectIdentifier>()?)
    }

    /// A small number.
    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        Ok(self.any()?.decode_as::<u32>()?)
    }

    /// The content of the next element, which must be `[number]`.
    pub(super) fn context(&mut self, number: u8, constructed: bool) -> Result<&'a [u8], Fault> {
        self.of(context(number, constructed))
    }

    /// Whether the next element has this tag.
    pub(super) fn next_is(&self, tag: Tag) -> bool {
        Tag::peek(&self.0).is_ok_and(|next| next == tag)
    }
}

/// The tag `[number]`.
pub(super) fn context(number: u8, constructed: bool) -> Tag {
    Tag::ContextSpecific { constructed, number: TagNumber(number.into()) }
}
