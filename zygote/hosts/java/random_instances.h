// Objects that a class has on the heap, whoever holds them.
#pragma once

#include <jni.h>

#include <initializer_list>
#include <vector>

namespace spore::java {

// Appends lasting references to all instances of the classes, named as FindClass wants them. False
// when this JVM cannot tell.
bool FindInstances(JNIEnv* env, std::initializer_list<const char*> classes,
                   std::vector<jobject>& found);

}  // namespace spore::java
