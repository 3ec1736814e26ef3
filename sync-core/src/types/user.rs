//! Types of applications: their tags, and the names by which tools show them.
//!
//! A type needs no registration to be stored, relayed, fingerprinted and healed: a node that does not know a tag
//! does all that with its cells. The [`Registry`] only gives tags their names, and sees to it that two types of
//! one application do not take the same tag.

use std::collections::BTreeMap;

use crate::cell::TypeTag;

/// The tag of an application's own type: 128 to 255. Those below are the engine's, now and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserTag(u8);

impl UserTag {
    /// The tag `number`; `None` below 128.
    ///
    /// ```
    /// use sync_core::types::user::UserTag;
    /// const VOTE: UserTag = UserTag::new(200).expect("from 128 on");
    /// assert_eq!(UserTag::new(127), None);
    /// assert_eq!(VOTE.tag().0, 200);
    /// ```
    pub const fn new(number: u8) -> Option<Self> {
        if number >= TypeTag::USER_FIRST { Some(Self(number)) } else { None }
    }

    /// As cells carry it.
    pub const fn tag(self) -> TypeTag {
        TypeTag(self.0)
    }
}

/// Why a type was not registered. The registry is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Caller: another type has this tag.
    #[error("tag {tag} is taken by {by:?}; {name:?} needs one of its own, on every node the same")]
    TagTaken {
        /// The tag.
        tag: u8,
        /// Who has it.
        by: String,
        /// Who wants it.
        name: String,
    },
    /// Caller: another type has this name, or the engine has a type of it.
    #[error("the name {name:?} is taken; the tools could not tell the two types apart")]
    NameTaken {
        /// The name.
        name: String,
    },
}

/// The names of an application's types. At most 128 fit, one a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    names: BTreeMap<UserTag, String>,
}

impl Registry {
    /// Gives `tag` its name. Doing so again with the same name changes nothing.
    ///
    /// # Errors
    /// The tag or the name is taken; nothing changed then.
    pub fn register(&mut self, tag: UserTag, name: &str) -> Result<(), RegistryError> {
        if let Some(by) = self.names.get(&tag).filter(|by| *by != name) {
            let (by, name) = (by.clone(), name.to_owned());
            return Err(RegistryError::TagTaken { tag: tag.0, by, name });
        }
        let engine = (0..TypeTag::USER_FIRST).any(|tag| TypeTag(tag).name() == Some(name));
        if engine || self.names.iter().any(|(other, taken)| *other != tag && taken == name) {
            return Err(RegistryError::NameTaken { name: name.to_owned() });
        }
        self.names.insert(tag, name.to_owned());
        Ok(())
    }

    /// The name of a type, the engine's or a registered one; `None` for one that nobody named here.
    pub fn name(&self, ty: TypeTag) -> Option<&str> {
        ty.name().or_else(|| self.names.get(&UserTag::new(ty.0)?).map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_and_a_name_belong_to_one_type() {
        let [vote, poll] = [200, 201].map(|tag| UserTag::new(tag).expect("from 128 on"));
        let mut registry = Registry::default();
        assert_eq!(registry.register(vote, "vote"), Ok(()));
        assert_eq!(registry.register(vote, "vote"), Ok(()), "the same again is nothing new");
        assert!(matches!(registry.register(vote, "poll"), Err(RegistryError::TagTaken { tag: 200, .. })));
        for taken in ["vote", "set"] {
            assert!(matches!(registry.register(poll, taken), Err(RegistryError::NameTaken { .. })));
        }
        assert_eq!(registry.name(vote.tag()), Some("vote"));
        assert_eq!(registry.name(TypeTag::OR_SET), Some("set"));
        assert_eq!(registry.name(poll.tag()), None);
    }
}
