//! Owns what whoever sends a request may do: scopes on the public side, roles on the operators'
//! side, and what a path asks for.
//!
//! Refuses to know how anybody proves who they are, and which paths there are. Bound: scopes fit in
//! a byte.

use std::fmt;
use std::sync::Arc;

use crate::ids::UserId;

/// What may be done on the public side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Asking models.
    Predict,
    /// Seeing which models there are and how they do.
    ModelsRead,
    /// Bringing, switching and removing models.
    ModelsWrite,
    /// Stored predictions and data sets.
    Data,
    /// Training.
    Training,
    /// Federated learning.
    Federated,
}

impl Scope {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Predict,
        Self::ModelsRead,
        Self::ModelsWrite,
        Self::Data,
        Self::Training,
        Self::Federated,
    ];

    /// Its name, as in the `scope` of a token (RFC 6749, section 3.3).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::ModelsRead => "models:read",
            Self::ModelsWrite => "models:write",
            Self::Data => "data",
            Self::Training => "training",
            Self::Federated => "federated",
        }
    }
}

/// A set of scopes. Shown as their names with spaces between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// A name that no scope has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScope(pub String);

impl fmt::Display for UnknownScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no scope; known: {}, or all", self.0, Scopes::ALL)
    }
}

impl std::error::Error for UnknownScope {}

impl Scopes {
    /// None.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self::of(&Scope::ALL);

    /// These.
    pub const fn of(scopes: &[Scope]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < scopes.len() {
            bits |= 1 << scopes[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// Reads names; `all` stands for each.
    ///
    /// # Errors
    /// The first name that no scope has.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownScope> {
        let mut found = Self::NONE;
        for name in names {
            let scope = Scope::ALL.iter().find(|scope| scope.name() == name);
            found.0 |= match scope {
                Some(scope) => Self::of(&[*scope]).0,
                None if name == "all" => Self::ALL.0,
                None => return Err(UnknownScope(name.to_owned())),
            };
        }
        Ok(found)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are in it.
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let held = move |scope: &Scope| self.covers(Self::of(&[*scope]));
        Scope::ALL.into_iter().filter(held).map(Scope::name)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            write!(f, "{}{name}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// What may be done on the operators' side; a later one may do what an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looking.
    Viewer,
    /// Reloading, switching, looking after the store.
    Operator,
    /// Keys, and what runs: plugins.
    Admin,
}

impl Role {
    /// Each of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What a path asks of whoever comes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// To be known.
    Known,
    /// To be known, also where nobody else is asked.
    Proof,
    /// One of these scopes.
    AnyOf(Scopes),
    /// This role at least.
    Role(Role),
}

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// By an API key.
    Key,
    /// By a token that this process gave for one.
    Token,
    /// By a token of another issuer.
    Issuer,
    /// By a client certificate.
    Certificate,
}

/// Who a request is from, once that is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// The id of the API key that it goes back to, if any.
    pub key: Option<Arc<str>>,
    /// What the user may do on the public side.
    pub scopes: Scopes,
    /// What on the operators' side.
    pub role: Option<Role>,
    /// How it was proved.
    pub by: Credential,
}

impl Access {
    /// Whether it is granted to `identity`.
    pub fn is_granted(self, identity: &Identity) -> bool {
        match self {
            Self::Open | Self::Known | Self::Proof => true,
            Self::AnyOf(scopes) => !identity.scopes.and(scopes).is_empty(),
            Self::Role(role) => identity.role.is_some_and(|held| held >= role),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_written_by_name() {
        let some = Scopes::named(["data", "predict"]).unwrap();
        assert_eq!(some, Scopes::of(&[Scope::Predict, Scope::Data]));
        assert_eq!(some.to_string(), "predict data");
        assert_eq!(Scopes::named(some.to_string().split(' ')).unwrap(), some);
        assert_eq!(Scopes::named(["all"]).unwrap(), Scopes::ALL);
        assert!(Scopes::ALL.covers(some) && !some.covers(Scopes::ALL));
        assert!(Scopes::NONE.is_empty() && some.and(Scopes::NONE).is_empty());
        let error = Scopes::named(["predict", "fly"]).unwrap_err().to_string();
        assert!(error.starts_with("`fly` is no scope; known: predict models:read"), "{error}");
    }

    #[test]
    fn access_is_granted_by_scope_and_by_role() {
        let of = |scopes: &[Scope], role| Identity {
            user: UserId::new("ada").unwrap(),
            key: None,
            scopes: Scopes::of(scopes),
            role,
            by: Credential::Key,
        };
        let check = |access: Access, identity: &Identity, expected: bool| {
            assert_eq!(access.is_granted(identity), expected, "{access:?} {identity:?}");
        };
        let reads = Access::AnyOf(Scopes::of(&[Scope::Predict, Scope::ModelsRead]));
        check(reads, &of(&[Scope::Predict], None), true);
        check(reads, &of(&[Scope::Data], Some(Role::Admin)), false);
        check(Access::Known, &of(&[], None), true);
        check(Access::Role(Role::Operator), &of(&[], Some(Role::Viewer)), false);
        check(Access::Role(Role::Operator), &of(&[], Some(Role::Operator)), true);
        check(Access::Role(Role::Viewer), &of(&[], Some(Role::Admin)), true);
        check(Access::Role(Role::Viewer), &of(&Scope::ALL, None), false);
        assert_eq!(Role::named("operator"), Some(Role::Operator));
        assert_eq!(Role::named("root"), None);
    }
}
