//! Who may prove what they know, and who this side is itself.

use std::collections::BTreeMap;

use crate::{Jaas, JaasError, Secret};

/// Names with their passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<String, Secret>);

impl Users {
    /// The entries `user_name="password"` of a section.
    ///
    /// # Errors
    /// If there is none, one has no password or is there twice, or there is no such section.
    pub fn read(jaas: &Jaas, section: &str) -> Result<Users, JaasError> {
        let mut users = BTreeMap::new();
        for (option, password) in jaas.options(section)? {
            let Some(user) = option.strip_prefix("user_") else { continue };
            if password.expose().is_empty() {
                return Err(jaas.lacks(section, "has a user with an empty password"));
            }
            if users.insert(user.to_owned(), password.clone()).is_some() {
                return Err(jaas.lacks(section, "has a user twice"));
            }
        }
        if users.is_empty() {
            // Who asks for another mechanism has no users here.
            jaas.must_be_digest(section)?;
            let lack = "names no user; add entries like user_bob=\"secret\"";
            return Err(jaas.lacks(section, lack));
        }
        Ok(Users(users))
    }

    /// Replaces the password of a user who exists; Apache's
    /// `SASLAuthenticationProvider.superPassword` does so for `super`.
    pub fn set_password(&mut self, user: &str, password: Secret) {
        if let Some(known) = self.0.get_mut(user) {
            *known = password;
        }
    }

    /// The password of a user.
    #[must_use]
    pub fn password(&self, user: &str) -> Option<&Secret> {
        self.0.get(user)
    }
}

/// As whom somebody authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Account {
    /// The options `username="name"` and `password="password"` of a section.
    ///
    /// # Errors
    /// If one of them is not there, or there is no such section.
    pub fn read(jaas: &Jaas, section: &str) -> Result<Account, JaasError> {
        let (mut user, mut password) = (None, None);
        for (option, value) in jaas.options(section)? {
            match option {
                "username" => user = Some(String::from_utf8_lossy(value.expose()).into_owned()),
                "password" => password = Some(value.clone()),
                _ => {}
            }
        }
        match (user, password) {
            (Some(user), Some(password)) => Ok(Account { user, password }),
            _ => {
                let lack = "does not say who this is; add username=\"bob\" password=\"secret\"";
                Err(jaas.lacks(section, lack))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jaas(text: &str) -> Jaas {
        Jaas::parse("jaas", text).unwrap()
    }

    const FILE: &str = "/* ours */ Client { x.Y required username=\"bob\" password=\"p\"; };\n\
        Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required // here\n\
        \x20 user_super=\"admin secret\"\n  user_bob='b\\\"o\\\\b\\101'\n  debug=true;\n};\n\
        Other { a.B optional user_eve=\"x\"; };";

    #[test]
    fn users_of_the_section_are_found() {
        let users = Users::read(&jaas(FILE), "Server").unwrap();
        let got = users.0.iter().map(|(name, secret)| (name.as_str(), secret.expose()));
        let wanted: [(&str, &[u8]); 2] = [("bob", b"b\"o\\bA"), ("super", b"admin secret")];
        assert_eq!(got.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn who_this_is_stands_in_a_section_too() {
        let bob = Account { user: "bob".to_owned(), password: Secret::new("p") };
        assert_eq!(Account::read(&jaas(FILE), "Client"), Ok(bob));
        let error = Account::read(&jaas(FILE), "Other").unwrap_err().to_string();
        assert!(error.starts_with("jaas: section Other does not say who this is"), "{error}");
    }

    #[test]
    fn what_is_missing_is_told() {
        let text = "S { a.DigestLoginModule required username=\"bob\"; };";
        let error = Users::read(&jaas(text), "S").unwrap_err().to_string();
        assert!(error.starts_with("jaas: section S names no user"), "{error}");
        for (text, why) in [
            ("S { x y user_a=\"\"; };", "has a user with an empty password"),
            ("S { x y user_a=b user_a=c; };", "has a user twice"),
        ] {
            let error = Users::read(&jaas(text), "S").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        // Kerberos has no users in the file.
        let text =
            "S { com.sun.security.auth.module.Krb5LoginModule required principal=\"zk/h\"; };";
        let error = Users::read(&jaas(text), "S").unwrap_err().to_string();
        assert!(error.contains("Krb5LoginModule; only DigestLoginModule (DIGEST-MD5)"), "{error}");
        let error = Users::read(&jaas(FILE), "server").unwrap_err().to_string();
        assert_eq!(error, "jaas: there is no section server; add it");
    }

    #[test]
    fn only_users_who_exist_get_another_password() {
        let mut users = Users::read(&jaas("S { x y user_super=a; };"), "S").unwrap();
        users.set_password("super", Secret::new("b"));
        users.set_password("eve", Secret::new("c"));
        assert_eq!(users.password("super"), Some(&Secret::new("b")));
        assert_eq!(users.password("eve"), None);
    }
}
