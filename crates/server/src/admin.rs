//! The options of Socket.IO's admin page.

use clap::Args;
use switchboard::{AdminMode, AdminOptions};

/// Socket.IO's admin page (`@socket.io/admin-ui`).
#[derive(Debug, Clone, Args)]
pub struct Admin {
    /// Let Socket.IO's admin page connect to the namespace /admin, for a user of this name [default: off].
    #[arg(long, env = "SWITCHBOARD_ADMIN_USER", value_name = "NAME", requires = "admin_password_hash")]
    pub admin_user: Option<String>,

    /// The bcrypt hash of that user's password, as `htpasswd -nB NAME` prints it after the colon [default: none].
    #[arg(
        long,
        env = "SWITCHBOARD_ADMIN_PASSWORD_HASH",
        value_name = "HASH",
        requires = "admin_user",
        hide_env_values = true
    )]
    pub admin_password_hash: Option<String>,

    /// The admin page may only look.
    #[arg(long, env = "SWITCHBOARD_ADMIN_READ_ONLY", requires = "admin_user")]
    pub admin_read_only: bool,

    /// Tell the admin page numbers only, and not each socket and event. For servers with many clients.
    #[arg(long, env = "SWITCHBOARD_ADMIN_NUMBERS_ONLY", requires = "admin_user")]
    pub admin_numbers_only: bool,
}

impl Admin {
    /// `None`: the page is not served.
    pub fn options(&self) -> Option<AdminOptions> {
        let (user, hash) = self.admin_user.as_ref().zip(self.admin_password_hash.as_ref())?;
        let mode = if self.admin_numbers_only { AdminMode::Production } else { AdminMode::Development };
        Some(AdminOptions::basic(user, hash).read_only(self.admin_read_only).mode(mode))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Config;

    fn parse(arguments: &[&str]) -> Result<Admin, clap::Error> {
        let arguments = std::iter::once("switchboard").chain(arguments.iter().copied());
        Config::try_parse_from(arguments).map(|config| config.admin)
    }

    #[test]
    fn the_admin_page_is_served_if_a_user_and_a_hash_are_given() {
        assert!(parse(&[]).expect("good").options().is_none());
        let user = ["--admin-user", "ada", "--admin-password-hash", "$2b$04$x"];
        assert!(parse(&user).expect("good").options().is_some());
        assert!(parse(&user[..2]).is_err() && parse(&user[2..]).is_err());
        assert!(parse(&["--admin-read-only"]).is_err());
    }
}
