// What a Java program believes of its process, made to agree with what the process has become.
#pragma once

#include <jni.h>

#include <string>

namespace spore::java {

// In the zygote: finds what the functions below set. Returns what this JDK lacks; empty: nothing.
std::string PrepareSurroundings(JNIEnv* env);

// Each returns with an exception pending when it fails.

// name, value, name, ...: byte arrays. For getenv(3), System.getenv and the programs started.
void SetEnvironment(JNIEnv* env, jobjectArray names_and_values);
// The process, java.io.File and java.nio.file: both remember what it was when the JVM started.
void ChangeDirectory(JNIEnv* env, jstring path);
void SetSystemClassLoader(JNIEnv* env, jobject loader);

// A method's generic signature; null when it has none.
jobject SignatureOf(JNIEnv* env, jobject method);

}  // namespace spore::java
