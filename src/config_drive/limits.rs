//! What Nova's API takes by default, and more than which we take (nova.conf: `[quota] injected_files` and its like).

use super::Instance;

/// Files of an instance.
const FILES: usize = 5;
/// Characters of a file's path.
const PATH: usize = 255;
/// Characters of a file's content in base64, which is how Nova measures it.
const CONTENT: u64 = 10_240;
/// Characters of user data in base64.
const USER_DATA: u64 = 65_535;

/// What of the instance Nova's API would not have taken, a sentence each.
pub(super) fn exceeded(instance: &Instance) -> Vec<String> {
    let in_base64 = |len: u64| len.div_ceil(3).saturating_mul(4);
    let mut notes = Vec::new();
    let mut more = |what: String, limit: u64| notes.push(format!("{what}: Nova's API takes {limit} by default"));
    if instance.files.len() > FILES {
        more(format!("{} files", instance.files.len()), FILES as u64);
    }
    for (number, (path, content)) in instance.files.iter().enumerate() {
        let (path, content) = (path.chars().count(), in_base64(content.len()));
        if path > PATH {
            more(format!("files[{number}].path has {path} characters"), PATH as u64);
        }
        if content > CONTENT {
            more(format!("files[{number}] has {content} characters in base64"), CONTENT);
        }
    }
    let user_data = instance.user_data.as_ref().map_or(0, |data| in_base64(data.expose().len() as u64));
    if user_data > USER_DATA {
        more(format!("user data have {user_data} characters in base64"), USER_DATA);
    }
    notes
}
