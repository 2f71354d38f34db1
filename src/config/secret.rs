//! A password, or where to find it.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use secrecy::SecretString;
use secrecy::zeroize::Zeroize as _;

use super::error::ConfigError;

/// More than any password or token; a wrong path such as `/dev/zero` must not fill the memory.
const LONGEST: u64 = 64 * 1024;

/// A password, or the file that holds it. Its `Debug` form shows the path but never the password.
#[derive(Debug, Clone, Default)]
pub enum Secret {
    /// No password was configured.
    #[default]
    None,
    /// The password itself.
    Value(SecretString),
    /// The file that holds it; a relative path counts from the working directory.
    File(PathBuf),
}

impl Secret {
    /// The password to use now. A file is read at each call, so that a rotated password is picked
    /// up by the next connection; one newline at its end is not part of the password.
    ///
    /// # Errors
    /// If the file cannot be read, is empty, is larger than 64 KiB or is not UTF-8.
    pub fn read(&self) -> Result<Option<SecretString>, ConfigError> {
        let path = match self {
            Secret::None => return Ok(None),
            Secret::Value(value) => return Ok(Some(value.clone())),
            Secret::File(path) => path,
        };
        let fail = |message: String| ConfigError::about(path.display().to_string(), message);
        // Large enough from the beginning, so that growing leaves no copies behind.
        let mut bytes = Vec::with_capacity(LONGEST as usize + 2);
        File::open(path)
            .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
            .map_err(|error| fail(format!("cannot read the password file: {error}")))?;
        if bytes.len() as u64 > LONGEST {
            return Err(fail("the password file is larger than 64 KiB".to_owned()));
        }
        // The bytes are the secret: the error that carries them is dropped.
        let mut whole =
            String::from_utf8(bytes).map_err(|_| fail("the password file is not UTF-8".to_owned()))?;
        let text = whole.as_str();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(fail("the password file is empty".to_owned()));
        }
        let secret = SecretString::from(text);
        whole.zeroize();
        Ok(Some(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;
    use secrecy::ExposeSecret as _;

    fn file(name: &str, bytes: &[u8]) -> Secret {
        let path = std::env::temp_dir().join(format!("rcp-secret-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Secret::File(path)
    }

    fn read(name: &str, bytes: &[u8]) -> Result<String, String> {
        let secret = file(name, bytes);
        let answer = secret.read();
        if let Secret::File(path) = &secret {
            std::fs::remove_file(path).unwrap();
        }
        match answer {
            Ok(value) => Ok(value.unwrap().expose_secret().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn one_newline_at_the_end_is_cut() {
        assert_eq!(read("plain", b"hunter2").unwrap(), "hunter2");
        assert_eq!(read("lf", b"hunter2\n").unwrap(), "hunter2");
        assert_eq!(read("crlf", b"hunter2\r\n").unwrap(), "hunter2");
        assert_eq!(read("two", b" hunter2\n\n").unwrap(), " hunter2\n");
    }

    #[test]
    fn files_that_cannot_be_used() {
        assert!(read("empty", b"\n").unwrap_err().ends_with("the password file is empty"));
        assert!(read("latin", b"hunter\xff").unwrap_err().ends_with("is not UTF-8"));
        assert!(read("big", &[b'a'; 70_000]).unwrap_err().ends_with("larger than 64 KiB"));
        let missing = Secret::File("/nonexistent/pg".into()).read().unwrap_err();
        assert_eq!(
            missing.to_string(),
            "/nonexistent/pg: cannot read the password file: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_file_is_read_again_each_time() {
        let secret = file("rotate", b"old");
        assert_eq!(secret.read().unwrap().unwrap().expose_secret(), "old");
        let Secret::File(path) = &secret else { unreachable!() };
        std::fs::write(path, b"new").unwrap();
        assert_eq!(secret.read().unwrap().unwrap().expose_secret(), "new");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn debug_shows_no_password() {
        assert!(!format!("{:?}", Secret::Value("hunter2".into())).contains("hunter2"));
    }
}
