//! What the directory holds of the processes of a cluster, and who is chosen among them.
//!
//! ```text
//! <prefix>/nodes/<name>     NodeRecord as JSON, under the node's lease
//! <prefix>/lobbies/<name>   LobbyRecord as JSON, under the lobby's lease
//! <prefix>/gates/<name>     GateRecord as JSON, under the gate's lease
//! <prefix>/settings/all     SettingsRecord as JSON, under no lease
//! ```

mod record;
mod registration;
pub mod select;
mod settings;
mod view;

pub use record::{GateRecord, Keyspace, KeyspaceError, Load, LobbyRecord, NodeRecord, Record, RecordError};
pub use registration::{RegisterError, Registration, RegistrationConfig, RegistrationCounters};
pub use settings::{SETTINGS_MAX, SettingsError, SettingsRecord};
pub use view::{Listed, View, ViewConfig, ViewCounters};
