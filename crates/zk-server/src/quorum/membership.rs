//! The ensemble changes: what a member keeps of it, and where it listens from then on.

use zk_zab::Ensemble;

use super::driver::Driver;

impl Driver {
    /// A configuration is proposed: with its transaction it is in the log, too, so that a file that
    /// cannot be written is no harm.
    pub(super) fn config_proposed(&self, config: &Ensemble) {
        let Some(files) = &self.files else { return };
        if let Err(error) = files.write_next(config) {
            tracing::warn!("{error}");
        }
    }

    /// A configuration counts from now on.
    pub(super) fn config_activated(&self, config: &Ensemble) {
        let (sid, role) = {
            let held = self.quorum.lock();
            held.tell_port();
            (held.state.peer.sid(), held.state.peer.role())
        };
        let own = config.members.get(&sid);
        tracing::info!(
            "the ensemble is that of version {:x}; this member is {}",
            config.version,
            own.map_or_else(|| "none of it".to_owned(), |_| format!("a {role}"))
        );
        if let Some(files) = &self.files {
            let has_client = own.is_some_and(|own| own.client.is_some());
            if let Err(error) = files.activate(config, has_client) {
                tracing::error!(
                    "{error}; at its next start this member would look for the ensemble of before: \
                     correct its zoo.cfg"
                );
            }
        }
        if let Some(own) = own {
            self.listen_at(&own.addresses);
        }
    }
}
