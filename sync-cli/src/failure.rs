//! How a command fails: one line for people and an exit code for scripts.

use std::fmt;
use std::process::ExitCode;

use sync_net::HealthState;
use sync_net::settings::Mistakes;

/// Why a command did not do what it was asked. The text is one line and says what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was tried and did not work: exit code 1.
    Failed(String),
    /// The command line or a value in it is wrong, nothing was tried: exit code 2.
    Usage(String),
    /// The configuration has mistakes, nothing was tried: exit code 2, and a line for each.
    Configuration(Mistakes),
    /// `diff` found that the nodes differ; the text counts what: exit code 1.
    Different(String),
    /// `converge` ran out of time; the text names each peer that lacks something: exit code 3.
    NotConverged(String),
    /// `health` found that the node is not well; the text has the worst reason: exit code 4, 5 or 6.
    Unwell(HealthState, String),
}

impl Failure {
    /// The process's exit code. Documented in `--help` and the README; scripts depend on it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) | Self::Different(_) => ExitCode::from(1),
            Self::Usage(_) | Self::Configuration(_) => ExitCode::from(2),
            Self::NotConverged(_) => ExitCode::from(3),
            Self::Unwell(state, _) => match state {
                HealthState::Healthy => ExitCode::SUCCESS,
                HealthState::Degraded => ExitCode::from(4),
                HealthState::Isolated => ExitCode::from(5),
                HealthState::Damaged => ExitCode::from(6),
            },
        }
    }

    /// The lines that tell of it: one, or one for each mistake of a configuration.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Configuration(mistakes) => mistakes.iter().map(|mistake| mistake.to_string()).collect(),
            Self::Failed(text)
            | Self::Usage(text)
            | Self::Different(text)
            | Self::NotConverged(text)
            | Self::Unwell(_, text) => vec![text.clone()],
        }
    }

    /// A failure whose text is what `error` says.
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text)
            | Self::Usage(text)
            | Self::Different(text)
            | Self::NotConverged(text)
            | Self::Unwell(_, text) => f.write_str(text),
            Self::Configuration(mistakes) => mistakes.fmt(f),
        }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::Configuration(mistakes)
    }
}

impl std::error::Error for Failure {}
