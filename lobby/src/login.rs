//! Players with a name and a password: how an account is made, and how its player logs in.

use tiltyard_api::ErrorCode;

use crate::house::{Entry, House, Player, Refused};
use crate::names::checked_name;
use crate::passwords::Busy;
use crate::presence::Mailbox;
use crate::shares::{Origin, Wish};
use crate::store::{Account, AccountLogin, Avatar};

/// Fewest bytes of a password; the most are a bound of the message.
const PASSWORD_BYTES_MIN: usize = 8;

impl House {
    /// Makes an account and logs in with it. The player is a new one.
    pub(crate) async fn register(
        &self,
        name: &str,
        password: &str,
        origin: Origin,
        mailbox: Mailbox,
    ) -> Result<Entry, Refused> {
        if self.is_closing() {
            return Err(ErrorCode::Closing.into());
        }
        let name = checked_name(name)?;
        if password.len() < PASSWORD_BYTES_MIN {
            return Err(ErrorCode::Password.into());
        }
        self.charge(origin, Wish::Login)?;
        let key = key_of(&name);
        if self.stored_login(&key).await?.is_some() {
            return Err(ErrorCode::NameTaken.into());
        }
        let hashed = self.passwords.hash(password.to_owned()).await.map_err(|Busy| self.busy())?;
        let account = Account {
            player: self.new_player_number().await?,
            name: name.clone(),
            created_unix_ms: self.clock.unix_ms(),
            session_generation: 0,
            avatar: Avatar::default(),
            login: Some(AccountLogin { key, password: hashed }),
        };
        // Somebody else may have taken the name meanwhile.
        if !self.store.register(&account).await.map_err(|error| self.store_failed(error))? {
            return Err(ErrorCode::NameTaken.into());
        }
        self.counters.accounts_made.one();
        self.enter(Player { number: account.player, name, generation: 0, origin }, mailbox).await
    }

    /// Logs in with a name and its password. A name that nobody has is refused as a wrong password is.
    pub(crate) async fn log_in_by_password(
        &self,
        name: &str,
        password: &str,
        origin: Origin,
        mailbox: Mailbox,
    ) -> Result<Entry, Refused> {
        if self.is_closing() {
            return Err(ErrorCode::Closing.into());
        }
        let name = checked_name(name)?;
        self.charge(origin, Wish::Login)?;
        let account = self.stored_login(&key_of(&name)).await?;
        let stored = account.as_ref().and_then(|account| account.login.as_ref());
        let stored = stored.map(|login| login.password.clone());
        let good = self.passwords.matches(password.to_owned(), stored).await.map_err(|Busy| self.busy())?;
        let Some(account) = account.filter(|_| good) else {
            self.counters.passwords_refused.one();
            return Err(ErrorCode::Credentials.into());
        };
        self.counters.password_logins.one();
        let Account { player, name, session_generation, .. } = account;
        self.enter(Player { number: player, name, generation: session_generation, origin }, mailbox).await
    }

    async fn stored_login(&self, key: &str) -> Result<Option<Account>, Refused> {
        self.store.account_of_login(key).await.map_err(|error| self.store_failed(error))
    }

    fn busy(&self) -> Refused {
        self.counters.passwords_busy.one();
        Refused { code: ErrorCode::Full, retry_after_ms: 1_000 }
    }
}

/// What a name is found by: names that differ in case alone are one.
fn key_of(name: &str) -> String {
    name.to_lowercase()
}
