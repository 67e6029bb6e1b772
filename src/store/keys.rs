//! The passwords of nodes as they rest: sealed on their way in, opened on their way out. What stands in clear from before,
//! or was sealed with a key of before, is sealed when the database is opened.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::db::args;
use super::file::DatabaseFile;
use super::{Engine, Open, Store, StoreError, single};
use crate::config::Keys;
use crate::domain::node::Password;
use crate::secrets::{KeyFileError, NoKey, SealFault, Vault, make_key, read_key};

/// Everything that the current key has not sealed; names are no secrets, and what is adopted is theirs.
pub(super) const UNSEALED: &str = "SELECT id, password FROM procwarden_nodes \
     WHERE password IS NOT NULL AND origin <> 'adopted' AND password NOT LIKE 'procwarden-named:%' \
     AND password NOT LIKE ? ORDER BY id";
pub(super) const RESEAL: &str =
    "UPDATE procwarden_nodes SET password = ? WHERE id = ? AND password = ?";

/// Why there are no keys, or a password is not sealed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// `secrets.key_file` names none.
    #[error("secrets.key_file: there is no {}: `openssl rand -base64 32` makes a key; chmod 600 it", .0.display())]
    NoFile(PathBuf),
    /// One of the settings.
    #[error("secrets")]
    NoKey(#[from] NoKey),
    /// A password.
    #[error("a password cannot be sealed")]
    Seal(#[from] SealFault),
}

/// The keys of a store; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct StoreKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    vault: Vault,
    /// Where one is made when it is needed first; SQLite's alone.
    makes: Option<PathBuf>,
    made: OnceLock<Vault>,
    previous: Vec<Password>,
}

impl StoreKeys {
    /// The keys of the settings, else of the file beside the database.
    pub(super) fn of(
        settings: &Keys,
        file: Option<&DatabaseFile>,
        open: Open,
    ) -> Result<Self, KeyError> {
        let beside = file.map(|file| {
            let mut path = file.path().to_owned().into_os_string();
            path.push(".key");
            PathBuf::from(path)
        });
        let mut makes = None;
        let key = match (&settings.key, &settings.file, beside) {
            (Some(key), ..) => Some(key.clone()),
            (None, Some(path), _) => {
                Some(read_key(path)?.ok_or_else(|| KeyError::NoFile(path.clone()))?)
            }
            (None, None, None) => None,
            (None, None, Some(path)) if open == Open::Create => Some(make_key(&path)?),
            (None, None, Some(path)) => {
                let key = read_key(&path)?;
                makes = key.is_none().then_some(path);
                key
            }
        };
        let vault = Vault::new(key.as_ref(), &settings.previous)?;
        let previous = settings.previous.clone();
        Ok(Self(Arc::new(Inner { vault, makes, made: OnceLock::new(), previous })))
    }

    fn vault(&self) -> Result<&Vault, KeyError> {
        let Inner { vault, makes, made, previous } = &*self.0;
        let Some(path) = makes else { return Ok(vault) };
        if let Some(vault) = made.get() {
            return Ok(vault);
        }
        let vault = Vault::new(Some(&make_key(path)?), previous)?;
        Ok(made.get_or_init(|| vault))
    }

    /// What stands in the row of this node.
    ///
    /// # Errors
    /// [`StoreError::NoKey`], [`StoreError::Key`].
    pub(super) fn seal(&self, node: i64, password: &Password) -> Result<String, StoreError> {
        if let Some(text) = password.storable() {
            return Ok(text);
        }
        let sealed = self.vault()?.seal(node, password.expose()).map_err(KeyError::from)?;
        sealed.ok_or(StoreError::NoKey)
    }

    /// Opens what was read, if a key does.
    pub(super) fn open(&self, node: i64, password: &mut Password) {
        if !password.is_locked() {
            return;
        }
        let vault = self.0.made.get().unwrap_or(&self.0.vault);
        if let Some(clear) = vault.open(node, password.expose()) {
            *password = clear;
        }
    }

    /// How everything begins that is sealed as it should be; none if nothing can be.
    fn prefix(&self) -> Option<String> {
        self.0.vault.current_prefix()
    }
}

impl Store {
    /// Seals what the current key has not sealed. In a shared database without a key it stays as it is, said once.
    pub(super) async fn seal_passwords(&self) -> Result<(), StoreError> {
        let prefix = self.keys.prefix();
        let like = format!("{}%", prefix.as_deref().unwrap_or("procwarden-sealed:"));
        let rows: Vec<(i64, String)> =
            single!(self, session => session.all(UNSEALED, args![&like]))?;
        if prefix.is_none() {
            if !rows.is_empty() {
                let nodes = rows.len();
                tracing::warn!(
                    nodes,
                    "passwords stand in the database in clear: set secrets.key_file"
                );
            }
            return Ok(());
        }
        let (mut sealed, mut locked) = (0_usize, 0_usize);
        for (id, text) in rows {
            let mut password = Password::stored(text.clone());
            self.keys.open(id, &mut password);
            if password.is_locked() {
                locked += 1;
                continue;
            }
            let anew = self.keys.seal(id, &password)?;
            // Whoever wrote it meanwhile sealed it.
            single!(self, session => session.execute(RESEAL, args![&anew, id, &text]))?;
            sealed += 1;
        }
        if locked > 0 {
            tracing::warn!(
                nodes = locked,
                "no key opens these passwords: give the one they were sealed with (secrets.previous_keys)"
            );
        }
        if sealed > 0 {
            tracing::info!(nodes = sealed, "passwords were sealed");
            self.forget_removed().await?;
        }
        Ok(())
    }

    /// What was overwritten stands in free pages of the file and in its log until they are used again.
    async fn forget_removed(&self) -> Result<(), StoreError> {
        if self.engine() != Engine::Sqlite {
            return Ok(());
        }
        for statement in ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] {
            single!(self, session => session.execute(statement, &[]))?;
        }
        Ok(())
    }
}
