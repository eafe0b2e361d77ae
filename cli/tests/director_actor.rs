//! The actor `Director` and `DirectorControl`, asked by Python programs of a running node.

mod common;
mod online_support;

use online_support::Host;

/// What the programs begin with: the module's own place is on the path, the port in `PORT`.
const HEAD: &str = "
import os, sys
from datetime import datetime
from thespian.actors import *
PORT = int(os.environ['PORT'])
DIR = os.environ['THESPIAN_DIRECTOR_DIR']
asys = ActorSystem('multiprocTCPBase', {'Admin Port': PORT})
director_addr = asys.createActor('thespian.director', globalName='Director')

def ask(**message):
    answer = asys.ask(director_addr, message, 40)
    assert answer is not None, message
    return answer
";

const FOO: &str = "
from thespian.actors import *

class FooActor(ActorTypeDispatcher):
    heard = []
    def receiveMsg_str(self, message, sender):
        if message == 'heard':
            self.send(sender, self.heard)
        elif message == 'load':
            director = self.createActor('thespian.director', globalName='Director')
            self.asker = sender
            self.send(director, {'DirectorOp': 'LoadSource', 'Source': '/x', 'Group': 'foo'})
        else:
            self.heard.append(message)
    def receiveMsg_dict(self, answer, _sender):
        self.send(self.asker, answer)
    def receiveMsg_tuple(self, message, _sender):
        self.heard.append(message)
";

const TLI: &str = "{'Actors': {'foo.fooactor':
    {'OnLoad': {'Role': 'MainFoo', 'Message': 'StartFoo', 'GlobalName': 'Foo Primary'},
     'OnReactivate': {'Message': ('Restart', True)},
     'OnDeactivate': {'Message': {'Shutdown': True, 'timeout': 3}}}}}
";

/// A node that runs, with two versions of `foo` beside it that are not loaded.
fn host() -> Host {
    let host = Host::new();
    host.done("start");
    for version in ["1.0", "2.0"] {
        host.write("src/foo/__init__.py", format!("VERSION = '{version}'\n"));
        host.write("src/foo/fooactor.py", FOO);
        host.write("foo.tli", TLI);
        host.done(&format!(
            "gensrc foo key.pem src version:{version} tli:foo.tli foo/*.py"
        ));
    }
    host
}

fn runs(host: &Host, body: &str) -> String {
    host.program(&format!("{HEAD}{body}"))
}

#[test]
fn the_director_declares_loads_and_tells_what_runs_by_messages() {
    let host = host();
    runs(
        &host,
        "
assert asys.createActor('thespian.director.Director', globalName='Director') == director_addr
assert ask(DirectorOp='RetrieveAll') == {
    'DirectorResponse': 'AllAddresses', 'Success': True, 'Groups': {}}
tli = eval(open('foo.tli').read())
assert ask(DirectorOp='DefineGroup', Group='foo', **tli) == {
    'DirectorResponse': 'DeclaredGroup', 'Success': True}
hashes = []
for version in ('1.0', '2.0'):
    told = ask(DirectorOp='LoadSource', Source='foo-%s.tls' % version, Group='foo')
    hashes.append(told['SourceHash'])
    assert told == {
        'DirectorResponse': 'SourceLoading', 'Success': True, 'SourceHash': hashes[-1]}
    assert ask(DirectorOp='RequestNotification') == {
        'DirectorResponse': 'NotificationOfUpdate', 'Success': True}
    while ask(DirectorOp='RetrieveAll')['Groups'].get('foo', {}).get('ActiveHash') != hashes[-1]:
        ask(DirectorOp='RequestNotification')
told = ask(DirectorOp='RetrieveAll')
group = told['Groups']['foo']
assert (group['ActiveHash'], group['Loaded']) == (hashes[1], hashes), told
assert list(group['Running']) == hashes
for hash in hashes:
    [actor] = group['Running'][hash]
    assert (actor['ActorClass'], actor['Role']) == ('foo.fooactor.FooActor', 'MainFoo'), actor
    assert isinstance(actor['ActorAddress'], ActorAddress)
    assert isinstance(actor['StartTime'], datetime) and actor['StartTime'].tzinfo is None
    heard = asys.ask(actor['ActorAddress'], 'heard', 20)
    assert heard == (['StartFoo'] if hash == hashes[1] else ['StartFoo', {
        'Shutdown': True, 'timeout': 3}][:len(heard)]), heard
assert ask(DirectorOp='RetrieveAll', Group='foo') == told
assert ask(DirectorOp='RetrieveAll', Group='bar')['Groups'] == {}

found = ask(DirectorOp='RetrieveRole', Role='MainFoo', Group='foo')
[actor] = group['Running'][hashes[1]]
assert found.pop('RoleAddress') is not None
assert found == dict(actor, DirectorResponse='RoleAddress', Success=True, Group='foo',
                     SourceHash=hashes[1]), found
assert asys.createActor('any.thing', globalName='Foo Primary') == actor['ActorAddress']
assert ask(DirectorOp='RetrieveRole', Role='none') == {
    'DirectorResponse': 'RoleAddress', 'Success': False, 'Group': None, 'SourceHash': None,
    'ActorClass': None, 'Role': 'none', 'ActorAddress': None}
",
    );
    let told = host.done("ask Director {'DirectorOp':'RetrieveRole','Role':'none'}");
    assert!(told.contains("'Success': False"), "{told}");
}

/// Word for word what the Director's documentation shows, but for the import that it forgets.
#[test]
fn the_documented_program_retrieves_all_and_its_session_finds_roles() {
    let host = host();
    host.write("dir/foo.tli", TLI);
    host.write("dir/adminport.cfg", host.port());
    host.done("load foo-1.0.tls");
    let program = r#"
from thespian.actors import ActorSystem
import thespian.actors
asys = ActorSystem()
director_addr = asys.createActor('thespian.director', globalName='Director')
resp = asys.ask(director_addr, { "DirectorOp": "RetrieveAll"})
print(str(resp))
assert resp['Success'] and list(resp['Groups']) == ['foo'], resp
"#;
    let shown = host.program(program);
    for text in ["'DirectorResponse': 'AllAddresses'", "'Role': 'MainFoo'"] {
        assert!(shown.contains(text), "{shown}");
    }
    // Typed into an interpreter; errors come where they are printed.
    let session = r#"
import code, sys
sys.stderr = sys.stdout
shell = code.InteractiveConsole()
for line in """from thespian.director import DirectorControl
dc = DirectorControl()
dc.cmd_avail()
help(dc.cmd_avail)
r = dc.get_role_address('MainFoo')
print(r)
r = dc.get_role_address('unknown role name')
print(r)
r = dc.get_role_address('unknown role name', silent=True)
print(r)""".splitlines():
    print('>>> ' + line, flush=True)
    assert not shell.push(line)
    sys.stdout.flush()
"#;
    let shown = host.program(session);
    let said: Vec<_> = shown
        .split(">>> ")
        .filter_map(|typed| typed.split_once('\n'))
        .map(|(_, answer)| answer.trim())
        .collect();
    let [_, _, avail, help, _, found, unknown, none, silent, again] = *said else {
        panic!("{shown}");
    };
    assert!(
        avail.starts_with("THESPIAN_DIRECTOR_DIR=[BOX]/dir\nfoo: "),
        "{shown}"
    );
    assert!(avail.ends_with("\n0"), "{shown}");
    assert!(help.contains("packages that can be loaded"), "{shown}");
    for text in [
        "'RoleAddress'",
        "'Group': 'foo'",
        "'Role': 'MainFoo'",
        "'Success': True",
    ] {
        assert!(found.contains(text), "{shown}");
    }
    assert!(
        unknown.starts_with("RoleAddress ERROR: {'DirectorResponse'"),
        "{shown}"
    );
    assert_eq!((none, silent, again), ("None", "", "None"), "{shown}");
}

#[test]
fn what_the_director_does_not_do_gets_an_answer() {
    let host = host();
    runs(
        &host,
        "
def refused(what, response, **message):
    answer = ask(**message)
    assert answer['Success'] is False and answer['DirectorResponse'] == response, answer
    assert what in answer['Error'], answer

refused('updateCapability', 'UnknownOperation', DirectorOp='updateCapability')
refused('RetrieveAll', 'UnknownOperation', DirectorOp=['RetrieveAll'])
refused('None', 'UnknownOperation')
refused('Group', 'DeclaredGroup', DirectorOp='DefineGroup', Actors={})
refused('a number of versions', 'DeclaredGroup', DirectorOp='DefineGroup', Group='foo',
        AutoUnload='sometimes')
refused('numbers, strings', 'DeclaredGroup', DirectorOp='DefineGroup', Group='foo',
        Actors={'foo.A': {'OnLoad': {'Message': datetime.now()}}})
refused('not declared', 'SourceLoading', DirectorOp='LoadSource', Source='foo-1.0.tls',
        Group='foo')
ask(DirectorOp='DefineGroup', Group='foo', **eval(open('foo.tli').read()))
refused('No such file', 'SourceLoading', DirectorOp='LoadSource', Source='none.tls', Group='foo')
refused('path of a package', 'SourceLoading', DirectorOp='LoadSource', Group='foo')
assert asys.ask(director_addr, 'hallo', 20)['DirectorResponse'] == 'UnknownOperation'

# A package that nobody signed: accepted for loading, then refused, and nothing hangs.
open(DIR + '/foo-9.tls', 'w').write('no package')
assert ask(DirectorOp='LoadSource', Source='foo-9.tls', Group='foo')['Success'] is True
assert ask(DirectorOp='LoadSource', Source='foo-1.0.tls')['Success'] is True
assert ask(DirectorOp='RequestNotification')['Success'] is True

# Who runs somebody's source may look, but not load.
role = ask(DirectorOp='RetrieveRole', Role='MainFoo')
while not role['Success']:
    ask(DirectorOp='RequestNotification')
    role = ask(DirectorOp='RetrieveRole', Role='MainFoo')
answer = asys.ask(role['ActorAddress'], 'load', 20)
assert answer['Success'] is False and 'loaded sources' in answer['Error'], answer
",
    );
    let log = String::from_utf8_lossy(&host.read("dir/thespian_system.log")).into_owned();
    assert!(log.contains("was not loaded from `"), "{log}");
}

#[test]
fn a_change_between_an_answer_and_the_next_request_is_not_lost() {
    let host = host();
    runs(
        &host,
        "
import subprocess
def load(version):
    command = [os.environ['DIRECTOR_BIN'], 'load', 'foo-%s.tls' % version]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

os.rename('foo.tli', DIR + '/foo.tli')
ask(DirectorOp='RetrieveAll')
load('1.0')
assert ask(DirectorOp='RequestNotification')['Success'] is True
load('2.0')
assert ask(DirectorOp='RequestNotification')['Success'] is True
# Now nothing has changed: it comes with the next change, and once.
asys.tell(director_addr, {'DirectorOp': 'RequestNotification'})
asys.tell(director_addr, {'DirectorOp': 'RequestNotification'})
assert asys.listen(0.3) is None
load('1.0')
assert asys.listen(20) == {'DirectorResponse': 'NotificationOfUpdate', 'Success': True}
assert asys.listen(0.3) is None
# Somebody new has missed nothing yet.
with asys.private() as other:
    assert other.ask(director_addr, {'DirectorOp': 'RequestNotification'}, 0.3) is None
",
    );
}

#[test]
fn director_control_does_what_the_documents_show() {
    let host = host();
    host.write("dir/foo.tli", TLI);
    host.write("dir/adminport.cfg", host.port());
    let shown = runs(
        &host,
        "
from thespian.director import DirectorControl
dc = DirectorControl()
sys.stdout.flush()
print(dc.cmd_avail(), flush=True)
assert dc.cmd_load('foo') == 0
r = dc.get_role_address('MainFoo')
assert asys.ask(r['ActorAddress'], 'heard', 20) == ['StartFoo']
assert {key: r[key] for key in ('DirectorResponse', 'Group', 'ActorClass', 'Role', 'Success')} == {
    'DirectorResponse': 'RoleAddress', 'Group': 'foo', 'ActorClass': 'foo.fooactor.FooActor',
    'Role': 'MainFoo', 'Success': True}
sys.stderr = open('errors', 'w')
print(dc.get_role_address('unknown role name'), flush=True)
sys.stderr.flush()
errors = open('errors').read()
assert errors.startswith('RoleAddress ERROR: '), errors
assert eval(errors[len('RoleAddress ERROR: '):]) == {
    'DirectorResponse': 'RoleAddress', 'ActorAddress': None, 'Role': 'unknown role name',
    'SourceHash': None, 'Group': None, 'ActorClass': None, 'Success': False}
print(dc.get_role_address('unknown role name', silent=True), flush=True)
assert dc.get_role_address('MainFoo', group='bar', silent=True) is None
assert open('errors').read() == errors
assert dc.cmd_tlsinfo('nonsuch.tls') == 4 and dc.run(['nonsense']) == 2
assert dc.cmd_unload(r['SourceHash']) == 0 and dc.cmd_list() == 0
",
    );
    let hashes = |version: &str| {
        let bytes = host.read(&format!("dir/foo-{version}.tls"));
        protocol::SourceHash::of(&bytes).to_string()
    };
    let mut lines = shown.lines();
    assert_eq!(lines.next(), Some("THESPIAN_DIRECTOR_DIR=[BOX]/dir"));
    let newest = format!("foo: [BOX]/dir/foo-2.0.tls    {}", hashes("2.0"));
    assert_eq!(lines.next(), Some(newest.as_str()));
    let older = format!("   + [BOX]/dir/foo-1.0.tls    {}", hashes("1.0"));
    assert_eq!(lines.next(), Some(older.as_str()));
    assert_eq!(lines.next(), Some("0"));
    let loaded = format!("Loaded \"foo\" [BOX]/dir/foo-2.0.tls: {}", hashes("2.0"));
    assert_eq!(lines.next(), Some(loaded.as_str()));
    assert_eq!((lines.next(), lines.next()), (Some("None"), Some("None")));
}
