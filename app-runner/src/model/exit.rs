//! What the exit of main()'s process says about who ended main().

use ::record::MainExit;

/// The signals that a system, the kernel's OOM killer or a person ends a process with.
const HUP: i32 = 1;
const INT: i32 = 2;
const QUIT: i32 = 3;
const KILL: i32 = 9;
const TERM: i32 = 15;

/// An exit code above this one stands for a signal, by the convention of shells and JVMs.
const EXITED_FOR_SIGNAL: i32 = 128;

/// The exit of a process that ended by itself with this code.
pub fn exited(code: i32) -> MainExit {
    MainExit { code: Some(code), ..MainExit::default() }
}

/// Whether the process exited with code 0.
pub fn is_success(exit: &MainExit) -> bool {
    exit.code == Some(0)
}

/// The exit of a program that catches signals and exits with 128 + the signal's number: such a code
/// becomes the signal.
pub fn with_signal_of_code(exit: MainExit) -> MainExit {
    match exit.code.map(|code| code - EXITED_FOR_SIGNAL) {
        Some(signal @ (HUP | INT | QUIT | KILL | TERM)) => {
            MainExit { code: None, signal: Some(signal), ..exit }
        }
        _ => exit,
    }
}

/// Whether the process was ended from outside: by one of the signals that a system, the kernel's
/// OOM killer or a person sends. A signal that a program brings upon itself (SIGABRT, SIGSEGV, …)
/// is its own end, and so is any exit code.
pub fn is_killed(exit: &MainExit) -> bool {
    exit.code.is_none() && matches!(exit.signal, Some(HUP | INT | QUIT | KILL | TERM))
}
