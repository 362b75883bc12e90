//! The ensemble changes: what a member keeps of it, and where it listens from then on.

use std::sync::atomic::Ordering;

use zk_zab::{Ensemble, HostPort};

use super::driver::Driver;

impl Driver {
    /// A configuration is proposed. That of a transaction is in the log, too, so that a file that
    /// cannot be written is no harm; that of NEWLEADER comes again with the next leader.
    pub(super) fn config_proposed(&self, config: &Ensemble) {
        let Some(files) = &self.files else { return };
        // NEWLEADER carries one that counts already, as a rule.
        if config.version <= self.quorum.config().version {
            return;
        }
        if let Err(error) = files.write_next(config) {
            tracing::warn!("{error}");
        }
    }

    /// Clients are served by members alone: a leader takes no requests of others (DESIGN R6).
    pub(super) fn admit_clients(&self) {
        let (serves, is_listed) = {
            let held = self.quorum.lock();
            let peer = &held.state.peer;
            (peer.is_serving(), peer.configs().committed.members.contains_key(&peer.sid()))
        };
        if !serves {
            return;
        }
        if is_listed {
            self.engine.open();
        } else {
            tracing::warn!(
                "the ensemble does not list this member: it follows, and serves no clients until a \
                 reconfiguration adds it"
            );
            let committed = self.quorum.lock().state.committed;
            self.engine.finish(committed);
            self.engine.shut_out();
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
        // Of a member that is about to join, the zoo.cfg is right, and the ensemble's is not yet.
        let was_listed = self.is_listed.swap(own.is_some(), Ordering::Relaxed);
        if let Some(files) = self.files.as_ref().filter(|_| own.is_some() || was_listed) {
            let has_client = own.is_some_and(|own| own.client.is_some());
            if let Err(error) = files.activate(config, has_client) {
                tracing::error!(
                    "{error}; at its next start this member would look for the ensemble of before: \
                     correct its zoo.cfg"
                );
            }
        }
        self.admit_clients();
        if let Some(own) = own {
            self.listen_at(&own.addresses);
            self.serve_at(own.client.as_ref());
        }
    }

    /// Clients come in where the configuration says; it is told where that cannot be.
    fn serve_at(&self, client: Option<&HostPort>) {
        let Some(client) = client else { return };
        if let Err(error) = self.entrance.move_to(client, self.backlog) {
            tracing::error!(
                "clients cannot come in at {client}: {error}; they can at the old address, until \
                 a reconfiguration names another one or this member starts again"
            );
        }
    }
}
