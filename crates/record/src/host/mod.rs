//! Facts about this machine.

use stopwatt_core::fingerprint::Fingerprint;

/// The fingerprint of this machine; GPU and engine fields stay empty.
pub fn fingerprint() -> Fingerprint {
    unimplemented!()
}
