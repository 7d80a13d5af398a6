// What a forked JVM must not share with its siblings: seeds, buffered random bytes, its pid.
#pragma once

#include <jni.h>

#include <string>

namespace spore::java {

// In the zygote, once, right before the freeze: finds everything that RenewAll sets, and empties
// what can be empty. `threads` are all live ones. Returns what this JDK lacks, in which case
// nothing may be forked: a seed that is not found is a seed that is shared. Empty: all is found.
std::string PrepareRenewal(JNIEnv* env, jobjectArray threads);

// In a child, when its threads are back. False, with a Java exception pending, when it fails.
bool RenewAll(JNIEnv* env);

}  // namespace spore::java
