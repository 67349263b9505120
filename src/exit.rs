//! The three ways a run of the program ends, as scripts see them.

use std::process::ExitCode;

/// How a run ended. The numbers are part of the program's contract and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All is well: code 0.
    Fine = 0,
    /// The thing asked about failed (diverged, damaged, refused, lost): code 1.
    Failed = 1,
    /// The question was wrong, on the command line or in the configuration: code 2.
    Usage = 2,
}

impl Exit {
    /// The process's exit code, 0 to 2.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What an error makes of a run: [`Exit::Usage`] where the caller asked wrongly, else [`Exit::Failed`].
    pub fn from_error(error: &anyhow::Error) -> Self {
        let asked_wrongly = |cause: &(dyn std::error::Error + 'static)| {
            cause.is::<Usage>() || cause.is::<crate::config::Problems>()
        };
        if error.chain().any(asked_wrongly) { Self::Usage } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A wrong question that only shows after the command line was parsed, such as two flags that exclude each other
/// by their values.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_wrong_question_is_found_under_any_context() {
        let bare = anyhow::Error::new(Usage("no".into()));
        assert_eq!(Exit::from_error(&bare), Exit::Usage);
        let wrapped = Err::<(), _>(Usage("no".into())).context("outer").context("outermost").unwrap_err();
        assert_eq!(Exit::from_error(&wrapped), Exit::Usage);
        assert_eq!(Exit::from_error(&anyhow::anyhow!("disk is gone")), Exit::Failed);
    }

    #[test]
    fn codes_are_the_contract() {
        assert_eq!([Exit::Fine, Exit::Failed, Exit::Usage].map(Exit::code), [0, 1, 2]);
    }
}
