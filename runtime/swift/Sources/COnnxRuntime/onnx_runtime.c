#include "onnx_runtime.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Places in OrtApi, whose every member is a pointer to a function.
enum {
    GET_ERROR_MESSAGE = 2,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    SET_SESSION_LOG_SEVERITY_LEVEL = 22,
    SESSION_GET_INPUT_COUNT = 30,
    SESSION_GET_OUTPUT_COUNT = 31,
    SESSION_GET_INPUT_TYPE_INFO = 33,
    SESSION_GET_OUTPUT_TYPE_INFO = 34,
    SESSION_GET_INPUT_NAME = 36,
    SESSION_GET_OUTPUT_NAME = 37,
    CREATE_TENSOR_WITH_DATA_AS_ORT_VALUE = 49,
    GET_TENSOR_MUTABLE_DATA = 51,
    CAST_TYPE_INFO_TO_TENSOR_INFO = 55,
    GET_TENSOR_ELEMENT_TYPE = 60,
    GET_DIMENSIONS_COUNT = 61,
    GET_DIMENSIONS = 62,
    GET_TENSOR_TYPE_AND_SHAPE = 65,
    CREATE_CPU_MEMORY_INFO = 69,
    ALLOCATOR_FREE = 76,
    GET_ALLOCATOR_WITH_DEFAULT_OPTIONS = 78,
    RELEASE_STATUS = 93,
    RELEASE_SESSION = 95,
    RELEASE_VALUE = 96,
    RELEASE_TYPE_INFO = 98,
    RELEASE_TENSOR_TYPE_AND_SHAPE_INFO = 99,
    RELEASE_SESSION_OPTIONS = 100,
    CREATE_ENV_WITH_GLOBAL_THREAD_POOLS = 119,
    DISABLE_PER_SESSION_THREADS = 120,
    CREATE_THREADING_OPTIONS = 121,
    SET_GLOBAL_INTRA_OP_NUM_THREADS = 147,
};

enum { API_VERSION = 17, ONLY_FATAL = 4, ARENA_ALLOCATOR = 1, DEFAULT_MEMORY = 0 };

typedef void Status;
typedef void (*Function)(void);

struct VPRuntime {
    const Function *api;
    const char *version;
    void *environment;
    void *memory;
    void *allocator;
};

struct VPSession {
    void *session;
    size_t counts[2];
    VPTensorInfo *infos[2];
};

// Casts the function at a place of the interface to its type, whose result is a status or nothing.
#define API(runtime, place, ...) ((Status * (*)(__VA_ARGS__))(runtime)->api[place])
#define RELEASE(runtime, place, object) ((void (*)(void *))(runtime)->api[place])(object)

static VPRuntime *shared;

// Returns NULL for success; otherwise the message of a status, which is released.
static char *message_of(const VPRuntime *runtime, Status *status) {
    if (status == NULL) return NULL;
    const char *text = ((const char *(*)(const Status *))runtime->api[GET_ERROR_MESSAGE])(status);
    char *message = strdup(text);
    RELEASE(runtime, RELEASE_STATUS, status);
    return message;
}

static char *start(VPRuntime *runtime, int threads) {
    void *options = NULL;
    char *error = message_of(runtime, API(runtime, CREATE_THREADING_OPTIONS, void **)(&options));
    if (error) return error;
    error = message_of(runtime, API(runtime, SET_GLOBAL_INTRA_OP_NUM_THREADS, void *, int)(options, threads));
    if (error) return error;
    error = message_of(
        runtime, API(runtime, CREATE_ENV_WITH_GLOBAL_THREAD_POOLS, int, const char *, const void *, void **)(
                     ONLY_FATAL, "vlmprune", options, &runtime->environment));
    if (error) return error;
    error = message_of(
        runtime, API(runtime, CREATE_CPU_MEMORY_INFO, int, int, void **)(ARENA_ALLOCATOR, DEFAULT_MEMORY, &runtime->memory));
    if (error) return error;
    return message_of(runtime, API(runtime, GET_ALLOCATOR_WITH_DEFAULT_OPTIONS, void **)(&runtime->allocator));
}

char *vp_open(const char *library, int threads, VPRuntime **runtime) {
    if (shared) {
        *runtime = shared;
        return NULL;
    }
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);  // a user's own setting stands
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return strdup(dlerror());
    typedef struct {
        const void *(*get_api)(uint32_t);
        const char *(*get_version)(void);
    } Base;
    const Base *(*get_base)(void) = (const Base *(*)(void))dlsym(handle, "OrtGetApiBase");
    if (!get_base) return strdup(dlerror());
    VPRuntime *opened = calloc(1, sizeof *opened);
    opened->api = get_base()->get_api(API_VERSION);
    opened->version = get_base()->get_version();
    if (!opened->api) return strdup("this onnxruntime is too old");
    char *error = start(opened, threads);
    if (error) return error;
    *runtime = shared = opened;
    return NULL;
}

const char *vp_version(const VPRuntime *runtime) { return runtime->version; }

static char *shape_of(const VPRuntime *runtime, const void *shape, VPTensorInfo *info) {
    size_t axes = 0;
    char *error = message_of(runtime, API(runtime, GET_TENSOR_ELEMENT_TYPE, const void *, int32_t *)(shape, &info->type));
    if (error) return error;
    error = message_of(runtime, API(runtime, GET_DIMENSIONS_COUNT, const void *, size_t *)(shape, &axes));
    if (error) return error;
    if (axes > VP_MAX_AXES) return strdup("a tensor has too many dimensions");
    info->axes = (int32_t)axes;
    return message_of(runtime, API(runtime, GET_DIMENSIONS, const void *, int64_t *, size_t)(shape, info->sizes, axes));
}

static char *read_info(VPRuntime *runtime, void *session, int outputs, size_t nth, VPTensorInfo *info) {
    char *name = NULL;
    void *type = NULL;
    const void *shape = NULL;
    char *error = message_of(
        runtime, API(runtime, outputs ? SESSION_GET_OUTPUT_NAME : SESSION_GET_INPUT_NAME, void *, size_t, void *, char **)(
                     session, nth, runtime->allocator, &name));
    if (error) return error;
    snprintf(info->name, VP_MAX_NAME, "%s", name);
    error = message_of(runtime, API(runtime, ALLOCATOR_FREE, void *, void *)(runtime->allocator, name));
    if (error) return error;
    error = message_of(
        runtime, API(runtime, outputs ? SESSION_GET_OUTPUT_TYPE_INFO : SESSION_GET_INPUT_TYPE_INFO, void *, size_t, void **)(
                     session, nth, &type));
    if (error) return error;
    error = message_of(runtime, API(runtime, CAST_TYPE_INFO_TO_TENSOR_INFO, const void *, const void **)(type, &shape));
    if (!error) error = shape ? shape_of(runtime, shape, info) : strdup("it is no tensor");
    RELEASE(runtime, RELEASE_TYPE_INFO, type);
    return error;
}

static char *read_infos(VPRuntime *runtime, VPSession *session, int outputs) {
    char *error = message_of(
        runtime, API(runtime, outputs ? SESSION_GET_OUTPUT_COUNT : SESSION_GET_INPUT_COUNT, void *, size_t *)(
                     session->session, &session->counts[outputs]));
    if (error) return error;
    session->infos[outputs] = calloc(session->counts[outputs] + 1, sizeof(VPTensorInfo));
    for (size_t nth = 0; nth < session->counts[outputs] && !error; nth++)
        error = read_info(runtime, session->session, outputs, nth, &session->infos[outputs][nth]);
    return error;
}

char *vp_load(VPRuntime *runtime, const char *path, VPSession **session) {
    void *options = NULL;
    char *error = message_of(runtime, API(runtime, CREATE_SESSION_OPTIONS, void **)(&options));
    if (error) return error;
    error = message_of(runtime, API(runtime, SET_SESSION_LOG_SEVERITY_LEVEL, void *, int)(options, ONLY_FATAL));
    if (!error) error = message_of(runtime, API(runtime, DISABLE_PER_SESSION_THREADS, void *)(options));
    VPSession *loaded = calloc(1, sizeof *loaded);
    if (!error)
        error = message_of(
            runtime, API(runtime, CREATE_SESSION, const void *, const char *, const void *, void **)(
                         runtime->environment, path, options, &loaded->session));
    RELEASE(runtime, RELEASE_SESSION_OPTIONS, options);
    for (int outputs = 0; outputs < 2 && !error; outputs++) error = read_infos(runtime, loaded, outputs);
    if (error) {
        vp_close(runtime, loaded);
        return error;
    }
    *session = loaded;
    return NULL;
}

void vp_close(VPRuntime *runtime, VPSession *session) {
    if (session->session) RELEASE(runtime, RELEASE_SESSION, session->session);
    for (int outputs = 0; outputs < 2; outputs++) free(session->infos[outputs]);
    free(session);
}

size_t vp_count(const VPSession *session, int outputs) { return session->counts[outputs]; }

VPTensorInfo vp_info(const VPSession *session, int outputs, size_t nth) { return session->infos[outputs][nth]; }

char *vp_tensor(VPRuntime *runtime, void *data, size_t bytes, const int64_t *sizes, size_t axes, int type, VPValue **value) {
    return message_of(
        runtime, API(runtime, CREATE_TENSOR_WITH_DATA_AS_ORT_VALUE, const void *, void *, size_t, const int64_t *, size_t, int,
                     VPValue **)(runtime->memory, data, bytes, sizes, axes, type, value));
}

char *vp_describe(VPRuntime *runtime, VPValue *value, VPTensorInfo *info, void **data) {
    void *shape = NULL;
    char *error = message_of(runtime, API(runtime, GET_TENSOR_TYPE_AND_SHAPE, const void *, void **)(value, &shape));
    if (error) return error;
    error = shape_of(runtime, shape, info);
    RELEASE(runtime, RELEASE_TENSOR_TYPE_AND_SHAPE_INFO, shape);
    if (error) return error;
    return message_of(runtime, API(runtime, GET_TENSOR_MUTABLE_DATA, void *, void **)(value, data));
}

void vp_release(VPRuntime *runtime, VPValue *value) { RELEASE(runtime, RELEASE_VALUE, value); }

char *vp_run(
    VPRuntime *runtime, VPSession *session, const char *const *input_names, const VPValue *const *inputs, size_t input_count,
    const char *const *output_names, VPValue **outputs, size_t output_count) {
    return message_of(
        runtime, API(runtime, RUN, void *, const void *, const char *const *, const VPValue *const *, size_t,
                     const char *const *, size_t, VPValue **)(
                     session->session, NULL, input_names, inputs, input_count, output_names, output_count, outputs));
}
