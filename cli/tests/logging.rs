//! The logging configuration of a node: in files by `thesplog.cfg`, and by a program's `logDefs`.

mod common;
mod online_support;

use online_support::{Host, until};

/// As the Director's documentation shows it, its braces mended.
const DOCUMENTED: &str = "
{ 'version': 1,
  'formatters': {
    'normal': {
      'fmt': '%(asctime)s,%(msecs)d %(actorAddress)s/PID:%(process)d %(name)s %(levelname)s \
%(message)s',
      'datefmt': '%Y-%m-%d %H:%M:%S'
    }
  },
  'root': {'level': 20, 'handlers': ['foo_log_handler']},
  'loggers': {
    'subsysA': {'level':30, 'propagate': 0, 'handlers': ['foo_log_handler']}
  },
  'handlers': {
    'foo_log_handler': {
      'filename': 'fooapp.log',
      'class': 'logging.handlers.TimedRotatingFileHandler',
      'formatter': 'normal',
      'level': 20, 'backupCount':3,
      'filters': ['isActorLog'],
      'when': 'midnight'
    }
  },
  'filters': {'isActorLog': {'()': 'thespian.director.ActorAddressLogFilter'}}
}
";

const LOGS: &str = "
import logging
from thespian.actors import *

class Main(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        logging.info('usual %s', message)
        logging.getLogger('subsysA').info('too low %s', message)
        self.logger('subsysA').warning('high enough %s', message)
        print('printed', message)
        self.send(sender, self.myAddress)
    def receiveMsg_ActorExitRequest(self, _message, _sender):
        logging.warning('good bye')
";

#[test]
fn the_documented_configuration_sends_all_actors_records_to_one_file() {
    let host = Host::new();
    host.write("dir/thesplog.cfg", DOCUMENTED);
    std::fs::create_dir(host.path("logs")).unwrap();
    host.write("dir/thesplogd.cfg", host.path("logs").to_str().unwrap());
    host.build("1.0", LOGS);
    host.done("start");
    let address = host.done("ask Main 'one'");
    let file = host.path("logs/fooapp.log");
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    until("the records are written", || {
        read().contains("high enough one")
    });
    let text = read();
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    assert!(first.ends_with(" root INFO usual one"), "{text}");
    // The reply is the address, as the text of a literal.
    let address = address.trim().trim_matches('\'');
    assert!(
        first.contains(&format!(" {address}/PID:")),
        "{address}: {text}"
    );
    let second = lines.next().unwrap();
    assert!(
        second.ends_with(" subsysA WARNING high enough one"),
        "{text}"
    );
    // What actors print is captured by the node.
    let log = || String::from_utf8_lossy(&host.read("dir/thespian_system.log")).into_owned();
    until("what was printed is captured", || {
        log().contains("printed one")
    });
    assert!(!log().contains("usual one"));
    host.done("shutdown");
    until("the last words are written", || read().contains("good bye"));
}

#[test]
fn a_program_logs_by_its_own_definitions_classes_included() {
    let host = Host::new();
    host.done("start");
    let port = host.port();
    host.done("shutdown");
    host.write(
        "own_formats.py",
        "import logging\nclass Loud(logging.Formatter):\n    \
        def format(self, record):\n        return super().format(record).upper()\n",
    );
    host.program_at(
        &port,
        "
import logging, os, sys, time
from thespian.actors import *
import own_formats

class Actors(logging.Filter):
    def filter(self, record):
        return 'actorAddress' in record.__dict__

class Says(Actor):
    def receiveMessage(self, message, sender):
        if isinstance(message, str):
            logging.info(message)
            self.send(sender, 'said')

definitions = {
    'version': 1,
    'formatters': {'loud': {'()': own_formats.Loud, 'fmt': '%(actorAddress)s %(message)s'}},
    'filters': {'actors': {'()': Actors}},
    'handlers': {'file': {'class': 'logging.FileHandler', 'filename': 'said.log',
                          'formatter': 'loud', 'filters': ['actors'], 'level': logging.INFO}},
    'loggers': {'': {'handlers': ['file'], 'level': logging.DEBUG}},
}

if __name__ == '__main__':
    os.environ.pop('THESPIAN_DIRECTOR_DIR')
    port = int(os.environ['PORT'])
    asys = ActorSystem('multiprocTCPBase', {'Admin Port': port}, logDefs=definitions)
    try:
        says = asys.createActor(Says)
        assert asys.ask(says, 'hello there', 20) == 'said'
        limit = time.monotonic() + 20
        while not (os.path.exists('said.log') and open('said.log').read()):
            assert time.monotonic() < limit
            time.sleep(0.02)
        assert open('said.log').read() == ('%s hello there\\n' % says).upper()
    finally:
        asys.shutdown()
",
    );
}
