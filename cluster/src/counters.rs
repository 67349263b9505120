//! Named counters for whatever is dropped, late, refused or done.

/// Declares a struct of named 64-bit counters that any thread may raise and any may read.
///
/// ```
/// tiltyard_cluster::counters! {
///     /// What the example counts.
///     pub struct ExampleCounters {
///         /// Things seen.
///         things_seen,
///     }
/// }
/// let counters = ExampleCounters::default();
/// counters.things_seen.add(2);
/// assert_eq!(counters.list(), [("things_seen", 2)]);
/// ```
#[macro_export]
macro_rules! counters {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $visibility struct $name { $($(#[$field_meta])* pub $field: $crate::Counter,)* }

        impl $name {
            /// Every counter with its name, in declaration order.
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.value()),)*]
            }
        }
    };
}

/// One counter; it wraps at 2^64.
#[derive(Debug, Default)]
pub struct Counter(std::sync::atomic::AtomicU64);

impl Counter {
    /// Counts one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Counts `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, std::sync::atomic::Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn value(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
