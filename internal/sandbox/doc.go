// Package sandbox starts child processes that end with this one, however it ends, and keeps those that work on a
// customer's archive from whatever they have no business with.
//
// What a customer's dump contains is code: functions in checks, triggers and views. Where it runs, it runs in a process
// that has, as far as the kernel allows it here,
//
//   - a network of its own, in which there is nothing, not even a loopback interface,
//   - process ids of its own: when the first process ends, the kernel ends all others,
//   - shared memory and semaphores of its own, which are gone with it,
//   - a user that is not ours where we are root, or else a user namespace, in which /proc/PID/environ of ours cannot be
//     read although the number of the user is the same,
//   - no way to more privileges (no_new_privs), and limits on memory and files,
//   - by Landlock, no file but those that it works on and the system's programs and libraries (StartWithin, StartRestricted).
//
// What talks to a customer's server cannot have a network of its own. It has the user, the limits and no way to more
// privileges (Demote), and by Landlock it is kept from every file but the system's programs and libraries, from the memory and
// the environment of other processes, and from every port but the server's (StartRestricted).
//
// What the kernel does not allow is named in Missing, for the log, the operator's measures and the result.
package sandbox
