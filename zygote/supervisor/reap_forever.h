// What a sandbox's init does for the rest of its life, in as little memory as a process can have.
#pragma once

namespace spore {

// Before the filter is loaded: whether ReapForever can do without the C library. To be passed on.
bool PrepareToReap();

// Reaps the sandbox's orphans until it is killed. SIGCHLD is blocked. Prepared, it gives back all
// of its memory but the page of code that it goes on with: the inits of thousands of sandboxes keep
// what they hold. Calls munmap, wait4 and rt_sigtimedwait only.
[[noreturn]] void ReapForever(bool prepared);

}  // namespace spore
