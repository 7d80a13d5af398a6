// What a forked JVM must not share with its siblings: seeds, buffered random bytes, its pid.
#pragma once

#include <jni.h>

#include <string>

namespace spore::java {

// In a zygote, right before each freeze: finds everything that is set below, and empties
// what can be empty. `threads` are all live ones. Returns what this JDK lacks, in which case
// nothing may be forked: a seed that is not found is a seed that is shared. Empty: all is found.
std::string PrepareRenewal(JNIEnv* env, jobjectArray threads);

// In a child inside its sandbox, while its calling thread is the only one: so no Java code runs
// here and nothing is allocated, for a collection would wait for ever. Returns why it failed, if it
// did.
std::string RenewAhead(JNIEnv* env);

// When the threads are back: generators of the library that only their own code can seed. False,
// with a Java exception pending, when it fails.
bool RenewRest(JNIEnv* env);

}  // namespace spore::java
