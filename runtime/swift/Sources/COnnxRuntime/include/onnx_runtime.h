// The part of onnxruntime's C interface that VLMPruneOnnx uses, on a shared library that is loaded at run time.
//
// onnxruntime hands out its functions as a struct of pointers whose order never changes: new ones are added at its
// end (https://onnxruntime.ai/docs/api/c/struct_ort_api.html). Only the places of those used here are named, in
// onnx_runtime.c, so that no header of onnxruntime is needed.
#ifndef VLMPRUNE_ONNX_RUNTIME_H
#define VLMPRUNE_ONNX_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

typedef struct VPRuntime VPRuntime;
typedef struct VPSession VPSession;
typedef struct VPValue VPValue;

// A tensor's type is one of onnxruntime's ONNXTensorElementDataType.
enum { VP_FLOAT = 1, VP_UINT8 = 2, VP_INT8 = 3, VP_INT32 = 6, VP_INT64 = 7, VP_FLOAT16 = 10 };
enum { VP_MAX_AXES = 8, VP_MAX_NAME = 128 };

typedef struct {
    char name[VP_MAX_NAME];
    int32_t type;
    int32_t axes;
    int64_t sizes[VP_MAX_AXES];  // negative where a dimension is free
} VPTensorInfo;

// Every function that can fail returns NULL, or a message that the caller frees with free().

// Loads the library at a path, once per process, with so many threads (0: one per core) for all sessions. Telemetry is
// off before the library initialises, unless the environment has a setting of it.
char *vp_open(const char *library, int threads, VPRuntime **runtime);
const char *vp_version(const VPRuntime *runtime);

char *vp_load(VPRuntime *runtime, const char *path, VPSession **session);
void vp_close(VPRuntime *runtime, VPSession *session);

size_t vp_count(const VPSession *session, int outputs);
VPTensorInfo vp_info(const VPSession *session, int outputs, size_t nth);

// Makes a tensor on memory of the caller, which has to outlive it.
char *vp_tensor(VPRuntime *runtime, void *data, size_t bytes, const int64_t *sizes, size_t axes, int type, VPValue **value);
char *vp_describe(VPRuntime *runtime, VPValue *value, VPTensorInfo *info, void **data);
void vp_release(VPRuntime *runtime, VPValue *value);

// Runs a session. An output that is NULL is made by onnxruntime, and released by the caller.
char *vp_run(
    VPRuntime *runtime, VPSession *session, const char *const *input_names, const VPValue *const *inputs, size_t input_count,
    const char *const *output_names, VPValue **outputs, size_t output_count);

#endif
