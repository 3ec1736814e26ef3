//! The file that a campaign can be resumed from: its progress, and the build that made it.
//!
//! A seed tells its story only to the build that drew it, so the file names the build by a hash of the program
//! and another one refuses it. It is written beside and renamed: a crash leaves the file before or the file after.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::campaign::{Plan, Progress};

/// Why a campaign cannot be resumed, or cannot be kept.
#[derive(Debug)]
pub enum ResumeError {
    /// The file, or this program itself, cannot be read or written.
    Io(PathBuf, std::io::Error),
    /// The file is not one that a campaign wrote.
    Unreadable(PathBuf, serde_json::Error),
    /// Another build of the simulator made it.
    OtherBuild {
        /// The file.
        path: PathBuf,
        /// The build that made it.
        theirs: String,
        /// This one.
        ours: String,
    },
    /// It is of a campaign with other arguments.
    OtherPlan {
        /// The file.
        path: PathBuf,
        /// What was to be done then.
        theirs: Plan,
        /// What is to be done now.
        ours: Plan,
    },
}

impl std::fmt::Display for ResumeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plan = |plan: &Plan| {
            let Plan { from, seeds, twice } = plan;
            format!("--from {from} --seeds {seeds}{}", if *twice { " --twice" } else { "" })
        };
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Unreadable(path, error) => {
                write!(f, "{} is not the progress of a campaign: {error}", path.display())
            }
            Self::OtherBuild { path, theirs, ours } => write!(
                f,
                "{} was made by build {theirs}, this is build {ours}: a seed is another run here. Give another \
                 file, or remove this one",
                path.display()
            ),
            Self::OtherPlan { path, theirs, ours } => write!(
                f,
                "{} is of a campaign with {}, not {}. Give those, another file, or remove this one",
                path.display(),
                plan(theirs),
                plan(ours)
            ),
        }
    }
}

impl std::error::Error for ResumeError {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    build: String,
    progress: Progress,
}

/// Where a campaign keeps its progress.
#[derive(Clone, Debug)]
pub struct ResumeFile {
    path: PathBuf,
    build: String,
}

impl ResumeFile {
    /// The file at `path`, for this build.
    ///
    /// # Errors
    /// The running program cannot be read, so that its build is not known.
    pub fn new(path: &Path) -> Result<Self, ResumeError> {
        let program =
            std::env::current_exe().map_err(|error| ResumeError::Io("this program".into(), error))?;
        let bytes = std::fs::read(&program).map_err(|error| ResumeError::Io(program, error))?;
        let build = blake3::hash(&bytes).to_hex()[..16].to_owned();
        Ok(Self { path: path.to_owned(), build })
    }

    /// The progress kept there, if it is that of `seeds` seeds from `from` on (any, if `None`); `None` if there is no
    /// such file yet.
    ///
    /// # Errors
    /// The file is unreadable, of another build, or of another campaign. It is left as it is.
    pub fn load(&self, from: Option<u64>, seeds: u64, twice: bool) -> Result<Option<Progress>, ResumeError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ResumeError::Io(self.path.clone(), error)),
        };
        let path = self.path.clone();
        let Saved { build, progress } =
            serde_json::from_str(&text).map_err(|error| ResumeError::Unreadable(path.clone(), error))?;
        if build != self.build {
            return Err(ResumeError::OtherBuild { path, theirs: build, ours: self.build.clone() });
        }
        let ours = Plan { from: from.unwrap_or(progress.plan.from), seeds, twice };
        if progress.plan != ours {
            return Err(ResumeError::OtherPlan { path, theirs: progress.plan, ours });
        }
        Ok(Some(progress))
    }

    /// Keeps `progress`: all of it or, if that fails, what was there before.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, progress: &Progress) -> Result<(), ResumeError> {
        let saved = Saved { build: self.build.clone(), progress: progress.clone() };
        let text = serde_json::to_string(&saved).expect("progress is plain data");
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let write = || {
            let mut file = std::fs::File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)
        };
        write().map_err(|error| ResumeError::Io(self.path.clone(), error))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::swarm::campaign::advance;

    fn file(name: &str) -> ResumeFile {
        let path = std::env::temp_dir().join(format!("simulations-{}-{name}.json", std::process::id()));
        drop(std::fs::remove_file(&path));
        ResumeFile::new(&path).expect("the program can be read")
    }

    #[test]
    fn progress_comes_back_from_its_file_as_it_was() {
        let file = file("as-it-was");
        assert!(file.load(None, 20, false).expect("there is no file").is_none());
        let begun = Progress::begin(Plan { from: 5, seeds: 20, twice: false });
        let progress = advance(begun, 1, |progress| match progress.next {
            5 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        assert!(progress.next > 5, "a chunk is done");
        file.save(&progress).expect("the folder can be written");
        assert_eq!(file.load(Some(5), 20, false).expect("it is ours"), Some(progress.clone()));
        assert_eq!(file.load(None, 20, false).expect("it is ours"), Some(progress));
        drop(std::fs::remove_file(&file.path));
    }

    #[test]
    fn a_file_of_another_build_or_campaign_or_of_none_is_refused_and_left_alone() {
        let file = file("refused");
        file.save(&Progress::begin(Plan { from: 1, seeds: 9, twice: false })).expect("it can be written");
        let before = std::fs::read_to_string(&file.path).expect("it was just written");
        let other = ResumeFile { build: "another".to_owned(), ..file.clone() };
        assert!(matches!(other.load(None, 9, false), Err(ResumeError::OtherBuild { .. })));
        for (from, seeds, twice) in [(Some(2), 9, false), (None, 10, false), (Some(1), 9, true)] {
            assert!(matches!(file.load(from, seeds, twice), Err(ResumeError::OtherPlan { .. })));
        }
        assert_eq!(std::fs::read_to_string(&file.path).expect("it is there"), before);
        std::fs::write(&file.path, "{}").expect("it can be written");
        assert!(matches!(file.load(None, 9, false), Err(ResumeError::Unreadable(..))));
        drop(std::fs::remove_file(&file.path));
    }
}
