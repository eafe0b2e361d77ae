//! Worker hosting: interpreters, forkservers and the processes of actors.
