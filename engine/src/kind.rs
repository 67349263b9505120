//! Actor kinds: which records an actor of a kind is made of.

use crate::{ActorId, Record, RegistryColumns};

/// An actor kind: a struct of records, one column each. Made by [`kind!`](crate::kind).
///
/// The world keeps one fixed set of columns per kind; records are never added to an actor or taken from it, so
/// states are fields.
pub trait Kind: Copy + Default + std::fmt::Debug + Send + Sync + 'static {
    /// The kind's name, unique within a game.
    const NAME: &'static str;
    /// What hecs stores for one actor.
    #[doc(hidden)]
    type Bundle: hecs::Bundle + hecs::DynamicBundle + Send + Sync + 'static;

    /// The actor as hecs stores it.
    #[doc(hidden)]
    fn bundle(self, id: ActorId) -> Self::Bundle;

    /// Names the kind's records in their order.
    #[doc(hidden)]
    fn columns(columns: &mut RegistryColumns);
}

/// Keeps kinds with the same records apart in hecs.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Mark<K>(std::marker::PhantomData<fn() -> K>);

impl<K> Mark<K> {
    /// The mark of a kind.
    #[doc(hidden)]
    #[must_use]
    pub const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<K> Default for Mark<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// The kind behind a singleton: one actor with one record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Single<T>(pub(crate) T);

impl<T: Record> Kind for Single<T> {
    const NAME: &'static str = T::NAME;
    type Bundle = (Mark<Self>, ActorId, T);

    fn bundle(self, id: ActorId) -> Self::Bundle {
        (Mark::new(), id, self.0)
    }

    fn columns(columns: &mut RegistryColumns) {
        columns.add::<T>();
    }
}

/// Declares actor kinds: structs whose fields are records, at most twelve, each of another type. A record may be part
/// of several kinds.
///
/// ```
/// tiltyard_engine::record! {
///     pub struct Position { pub at: glam::Vec2 => grid(4096) }
///     pub struct Motion { pub velocity: glam::Vec2 => grid(4096) }
/// }
/// tiltyard_engine::kind! {
///     /// A projectile.
///     pub struct Flyer { pub position: Position, pub motion: Motion }
/// }
/// use tiltyard_engine::Kind;
/// assert_eq!(Flyer::NAME, "Flyer");
/// ```
#[macro_export]
macro_rules! kind {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        $vis struct $name {
            $( $(#[$field_meta])* $field_vis $field : $type, )*
        }

        impl $crate::Kind for $name {
            const NAME: &'static str = stringify!($name);
            type Bundle = ($crate::Mark<Self>, $crate::ActorId, $($type,)*);

            fn bundle(self, id: $crate::ActorId) -> Self::Bundle {
                ($crate::Mark::new(), id, $(self.$field,)*)
            }

            fn columns(columns: &mut $crate::RegistryColumns) {
                $( columns.add::<$type>(); )*
            }
        }
    )*};
}
