// Objects that a class has on the heap, whoever holds them.
#pragma once

#include <jni.h>

#include <vector>

namespace spore::java {

// Appends lasting references to all instances of the class, named as FindClass wants it. False when
// this JVM cannot tell.
bool FindInstances(JNIEnv* env, const char* class_name, std::vector<jobject>& found);

}  // namespace spore::java
