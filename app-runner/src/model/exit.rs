//! What the end of main()'s process says of who has ended it.

use ::record::MainExit;

/// The signals that a system, the kernel's OOM killer or a person ends a process with.
const HUP: i32 = 1;
const INT: i32 = 2;
const QUIT: i32 = 3;
const KILL: i32 = 9;
const TERM: i32 = 15;

/// Exit codes from here on are signals, by the convention of shells and JVMs.
const EXITED_FOR_SIGNAL: i32 = 128;

/// The process has exited by itself, with this code.
pub fn exited(code: i32) -> MainExit {
    MainExit { code: Some(code), ..MainExit::default() }
}

/// It exited 0.
pub fn is_success(exit: &MainExit) -> bool {
    exit.code == Some(0)
}

/// What ended a program that catches signals and exits with 128 + the signal's number for them.
pub fn with_signal_of_code(exit: MainExit) -> MainExit {
    match exit.code.map(|code| code - EXITED_FOR_SIGNAL) {
        Some(signal @ (HUP | INT | QUIT | KILL | TERM)) => {
            MainExit { code: None, signal: Some(signal), ..exit }
        }
        _ => exit,
    }
}

/// The process was ended from outside: by one of the signals that a system, the kernel's OOM killer
/// or a person sends. Signals that a program brings upon itself (SIGABRT, SIGSEGV, …) are its own
/// end, and so is any exit code.
pub fn is_killed(exit: &MainExit) -> bool {
    exit.code.is_none() && matches!(exit.signal, Some(HUP | INT | QUIT | KILL | TERM))
}
