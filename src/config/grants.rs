//! What the administrator of a database server has to run once: the database, its user, and the rights that are needed.
//!
//! procwarden makes, alters and indexes its own tables and removes none; the rights are no more than that.

use super::database::{Engine, Server, server};

/// Stands where the password belongs; the one of the URL is never shown.
const PASSWORD: &str = "'choose-a-password'";

/// The user where the URL names none.
const USER: &str = "procwarden";

/// The statements, in their order, for `psql` or `mariadb` of an administrator; none for a file.
///
/// Names are those of the URL, quoted as the engine has it.
#[must_use]
pub fn grants(url: &str) -> Vec<String> {
    match server(url) {
        Ok(server) if server.engine == Engine::Postgres => postgres(&server),
        Ok(server) => mysql(&server),
        Err(_) => Vec::new(),
    }
}

/// The owner of a table may do all with it. From 15 on nobody may make one in `public` unless it is granted; before,
/// and on many servers still, `CONNECT` and `USAGE` are everybody's, and to grant them again does no harm.
fn postgres(server: &Server) -> Vec<String> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let user = quoted(server.user.as_deref().unwrap_or(USER));
    let database = quoted(&server.database);
    vec![
        format!("CREATE USER {user} PASSWORD {PASSWORD};"),
        // The template is the one that goes with any encoding.
        format!("CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0;"),
        format!("GRANT CONNECT ON DATABASE {database} TO {user};"),
        format!("\\connect {database}"),
        format!("GRANT USAGE, CREATE ON SCHEMA public TO {user};"),
    ]
}

/// `ALTER` and `INDEX` are for later versions of the schema. The name in GRANT is a pattern: `_` and `%` stand for
/// others there (MariaDB, "GRANT", database privileges).
fn mysql(server: &Server) -> Vec<String> {
    let database = server.database.replace('`', "``");
    let pattern = database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%");
    let user = server.user.as_deref().unwrap_or(USER);
    let user = format!("'{}'@'%'", user.replace('\\', "\\\\").replace('\'', "''"));
    vec![
        format!("CREATE DATABASE `{database}` CHARACTER SET utf8mb4;"),
        format!("CREATE USER {user} IDENTIFIED BY {PASSWORD};"),
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON `{pattern}`.* TO {user};"
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_needs_nobody() {
        assert_eq!(grants("sqlite:///a.db"), [""; 0]);
    }

    #[test]
    fn names_come_from_the_url_and_the_password_does_not() {
        let statements = grants("postgres://wd:hunter2@h/pw?sslmode=require");
        assert_eq!(
            statements,
            [
                "CREATE USER \"wd\" PASSWORD 'choose-a-password';",
                "CREATE DATABASE \"pw\" ENCODING 'UTF8' TEMPLATE template0;",
                "GRANT CONNECT ON DATABASE \"pw\" TO \"wd\";",
                "\\connect \"pw\"",
                "GRANT USAGE, CREATE ON SCHEMA public TO \"wd\";",
            ]
        );
        let statements = grants("mysql://wd:hunter2@h/pw");
        assert_eq!(
            statements,
            [
                "CREATE DATABASE `pw` CHARACTER SET utf8mb4;",
                "CREATE USER 'wd'@'%' IDENTIFIED BY 'choose-a-password';",
                "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON `pw`.* TO 'wd'@'%';",
            ]
        );
        assert_eq!(grants("mariadb://wd@h/pw"), statements);
        assert!(grants("postgres://h/pw")[0].contains("\"procwarden\""), "the URL names nobody");
    }

    #[test]
    fn hostile_names_stay_in_their_quotes() {
        let postgres = grants("postgres://a%22b@h/c%22%3B%20DROP").concat();
        assert!(postgres.contains("\"a\"\"b\"") && postgres.contains("\"c\"\"; DROP\""));
        let mysql = grants("mysql://a%27b%5C@h/c%60_d%25").concat();
        assert!(mysql.contains("'a''b\\\\'@'%'"), "{mysql}");
        assert!(mysql.contains("CREATE DATABASE `c``_d%` "), "{mysql}");
        assert!(mysql.contains("ON `c``\\_d\\%`.*"), "{mysql}");
    }
}
