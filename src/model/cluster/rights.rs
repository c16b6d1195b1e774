//! What a token has to be allowed in Consul, in the words of a policy: of the agent, and of the host that `cluster up` makes one for.

use std::fmt::Write;

/// A right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// A session of the host, by which addresses are locked.
    Session,
    /// The cluster's keys.
    Keys,
    /// A service for each address.
    Services,
    /// Which hosts there are.
    See,
}

impl Right {
    /// All that the agent needs.
    pub const ALL: [Self; 4] = [Self::Session, Self::Keys, Self::Services, Self::See];

    /// As a policy has it. `prefix` is the cluster's, `host` this host's: nobody ends the sessions of others.
    pub fn rule(self, prefix: &str, host: &str) -> String {
        match self {
            Self::Session => format!(r#"session "{host}" {{ policy = "write" }}"#),
            Self::Keys => format!(r#"key_prefix "{prefix}/" {{ policy = "write" }}"#),
            // Addresses have the names of their containers.
            Self::Services => r#"service_prefix "" { policy = "write" }"#.to_owned(),
            Self::See => r#"node_prefix "" { policy = "read" }"#.to_owned(),
        }
    }
}

/// What its policy lacks.
pub fn missing(right: Right, prefix: &str, host: &str) -> String {
    format!("the token's policy lacks {}", right.rule(prefix, host))
}

/// A policy that has all that the agent needs, and nothing else.
pub fn policy(prefix: &str, host: &str) -> String {
    Right::ALL.into_iter().fold(String::new(), |mut text, right| {
        let _ = writeln!(text, "{}", right.rule(prefix, host));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_each_right_on_a_line_and_none_on_sessions_of_other_hosts() {
        let policy = policy("pipework/shop", "h1");
        assert_eq!(policy.lines().count(), 4);
        assert!(policy.starts_with(r#"session "h1" { policy = "write" }"#) && !policy.contains("session_prefix"), "{policy}");
        assert!(missing(Right::Keys, "pipework/shop", "h1").ends_with(r#"key_prefix "pipework/shop/" { policy = "write" }"#));
    }
}
