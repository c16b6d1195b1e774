//! What the agent's token has to be allowed, in the words of a policy, for messages.

use std::fmt::Write;

/// A right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// A session, by which addresses are locked.
    Session,
    /// The cluster's keys.
    Keys,
    /// A service for each address.
    Services,
    /// Which hosts there are.
    See,
}

impl Right {
    const ALL: [Self; 4] = [Self::Session, Self::Keys, Self::Services, Self::See];

    fn rule(self, prefix: &str) -> String {
        match self {
            Self::Session => r#"session_prefix "" { policy = "write" }"#.to_owned(),
            Self::Keys => format!(r#"key_prefix "{prefix}/" {{ policy = "write" }}"#),
            Self::Services => r#"service_prefix "" { policy = "write" }"#.to_owned(),
            Self::See => r#"node_prefix "" { policy = "read" }"#.to_owned(),
        }
    }
}

/// What its policy lacks.
pub fn missing(right: Right, prefix: &str) -> String {
    format!("the token's policy lacks {}", right.rule(prefix))
}

/// A policy that has all that is needed, and nothing else.
pub fn policy(prefix: &str) -> String {
    Right::ALL.into_iter().fold(String::new(), |mut text, right| {
        let _ = writeln!(text, "{}", right.rule(prefix));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_each_right_on_a_line() {
        assert_eq!(policy("pipework/shop").lines().count(), 4);
        assert!(missing(Right::Keys, "pipework/shop").ends_with(r#"key_prefix "pipework/shop/" { policy = "write" }"#));
    }
}
