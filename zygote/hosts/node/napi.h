// The part of Node-API that the host's addon uses. The ABI is stable across versions of Node (the
// functions below are of version 1 of it, "Node-API" in Node's documentation), and no package of
// headers has to be installed that could be of another version than the program.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

typedef struct napi_env__* napi_env;
typedef struct napi_value__* napi_value;
typedef struct napi_callback_info__* napi_callback_info;
typedef napi_value (*napi_callback)(napi_env env, napi_callback_info info);
typedef enum { napi_ok = 0 } napi_status;  // any other value is an error
constexpr size_t NAPI_AUTO_LENGTH = SIZE_MAX;

napi_status napi_get_cb_info(napi_env env, napi_callback_info info, size_t* argc, napi_value* argv,
                             napi_value* this_arg, void** data);
napi_status napi_throw_error(napi_env env, const char* code, const char* message);

napi_status napi_get_undefined(napi_env env, napi_value* result);
napi_status napi_get_null(napi_env env, napi_value* result);
napi_status napi_get_boolean(napi_env env, bool value, napi_value* result);
napi_status napi_create_uint32(napi_env env, uint32_t value, napi_value* result);
napi_status napi_create_string_utf8(napi_env env, const char* text, size_t length,
                                    napi_value* result);
napi_status napi_create_array_with_length(napi_env env, size_t length, napi_value* result);
napi_status napi_create_function(napi_env env, const char* name, size_t length, napi_callback call,
                                 void* data, napi_value* result);

napi_status napi_get_value_uint32(napi_env env, napi_value value, uint32_t* result);
napi_status napi_get_value_double(napi_env env, napi_value value, double* result);
// Without a buffer: the length in bytes, which does not count the NUL that a buffer has room for.
napi_status napi_get_value_string_utf8(napi_env env, napi_value value, char* buffer, size_t size,
                                       size_t* result);

// The type is one of napi_typedarray_type: 8 is Float64Array.
napi_status napi_get_typedarray_info(napi_env env, napi_value array, int* type, size_t* length,
                                     void** data, napi_value* buffer, size_t* offset);

napi_status napi_set_element(napi_env env, napi_value object, uint32_t index, napi_value value);
napi_status napi_set_named_property(napi_env env, napi_value object, const char* name,
                                    napi_value value);

}  // extern "C"
