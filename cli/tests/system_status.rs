//! `Thespian_StatusReq` to an actor and to a system, from a program and from an actor.

mod common;
mod online_support;

use online_support::{Host, MAIN, until};

#[test]
fn a_system_tells_its_status_to_programs_and_actors() {
    let host = Host::new();
    host.build("1.0", MAIN);
    host.done("start");
    until("it is active", || {
        host.active("foo").as_deref() == Some("1.0")
    });
    let hash = host.hash("foo", "1.0");
    let shown = host.program(
        &r#"
import os
from thespian.actors import *
from thespian.system.messages.status import formatStatus


class Asks(ActorTypeDispatcher):
    def receiveMsg_ActorAddress(self, message, sender):
        self.asker = sender
        self.send(message, Thespian_StatusReq())

    def receiveMsg_Thespian_SystemStatus(self, message, sender):
        self.send(self.asker, message)

    def receiveMsg_str(self, message, sender):
        self.notifyOnSystemRegistrationChanges()
        self.registerSourceAuthority()
        self.kid = self.createActor(Asks)
        self.send(sender, self.kid)


if __name__ == '__main__':
    asys = ActorSystem('multiprocTCPBase', {'Admin Port': int(os.environ['PORT'])})
    asks = asys.createActor(Asks, globalName='the one that asks')
    kid = asys.ask(asks, 'subscribe', 20)
    own = asys.ask(asks, Thespian_StatusReq(), 20)
    assert isinstance(own, Thespian_ActorStatus), own
    assert own.actorAddress == asks and own.childActors == [kid]
    assert own.parentAddress == own.adminAddress
    assert asys.ask(kid, Thespian_StatusReq(), 20).parentAddress == asks
    assert own.actorClass.endswith('Asks') and own.sourceHash is None
    status = asys.ask(own.adminAddress, Thespian_StatusReq(), 20)
    assert isinstance(status, Thespian_SystemStatus), status
    assert status.adminAddress == own.adminAddress
    assert status.capabilities['Admin Port'] == asys.capabilities['Admin Port']
    assert status.conventionLeader is None and status.conventionAttendees == []
    assert asks in status.childActors and kid not in status.childActors
    assert status.globalActors['the one that asks'] == asks
    assert status.loadedSources == [('HASH', 'foo-1.0.tls')], status.loadedSources
    assert status.sourceAuthority == asks and status.notifyAddresses == [asks]
    assert status.inShutdown is False
    again = asys.ask(asks, own.adminAddress, 20)
    assert isinstance(again, Thespian_SystemStatus) and vars(again) == vars(status)
    formatStatus(own)
    formatStatus(status, lambda address: 'the one' if address == asks else 'another')
"#
        .replace("HASH", &hash),
    );
    for text in [
        "Status of the system another",
        "global name the one that asks: the one",
        "foo-1.0.tls",
        "Status of ",
    ] {
        assert!(shown.contains(text), "no `{text}` in {shown}");
    }
}
