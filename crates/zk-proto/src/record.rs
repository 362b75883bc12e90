//! One macro for records: fields in order, nothing else.

/// Defines a record and its [`Jute`](crate::Jute) form from one list of fields.
macro_rules! record {
    ($($(#[$doc:meta])* pub struct $name:ident $(<$life:lifetime>)? {
        $($(#[$fdoc:meta])* pub $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name $(<$life>)? { $($(#[$fdoc])* pub $field: $type,)* }

        $crate::record::record!(@impl $name [$($life)?] { $($field: $type,)* });
    )*};
    (@impl $name:ident [$life:lifetime] { $($field:ident: $type:ty,)* }) => {
        impl<$life> $crate::Jute<$life> for $name<$life> {
            const MIN_LEN: usize = 0 $(+ <$type as $crate::Jute<$life>>::MIN_LEN)*;
            fn read(r: &mut $crate::Reader<$life>) -> Result<Self, $crate::DecodeError> {
                Ok($name { $($field: $crate::Jute::read(r)?,)* })
            }
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::Jute::write(&self.$field, out);)*
            }
        }
    };
    (@impl $name:ident [] { $($field:ident: $type:ty,)* }) => {
        impl<'a> $crate::Jute<'a> for $name {
            const MIN_LEN: usize = 0 $(+ <$type as $crate::Jute<'a>>::MIN_LEN)*;
            fn read(r: &mut $crate::Reader<'a>) -> Result<Self, $crate::DecodeError> {
                Ok($name { $($field: $crate::Jute::read(r)?,)* })
            }
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::Jute::write(&self.$field, out);)*
            }
        }
    };
}

pub(crate) use record;
