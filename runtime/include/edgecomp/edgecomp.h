/* edgecomp runtime: run a compiled model. C99, no exceptions, no global state apart from the
 * last message of each thread.
 *
 *   const ec_model *model = ec_model_NAME();
 *   ec_open_options options = ec_open_options_default();
 *   options.weights_path = "weights.bin";
 *   ec_session *session = NULL;
 *   if (ec_session_open(model, &options, &session) != EC_OK) ... ec_last_message()
 *   ec_session_set_input(session, 0, pixels, sizeof pixels);
 *   ec_session_run(session);
 *   ec_session_get_output(session, 0, scores, sizeof scores);
 *   ec_session_close(session);
 *
 * Every function that can fail returns an ec_status; results come through out_ parameters,
 * which are untouched on failure unless said otherwise. After a successful open nothing
 * allocates, opens a file or takes a lock apart from the thread pool's.
 *
 * A session is used by one thread at a time; different sessions are independent.
 */
#ifndef EDGECOMP_EDGECOMP_H
#define EDGECOMP_EDGECOMP_H

#include <stddef.h>
#include <stdint.h>

#include "edgecomp/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define EC_MUST_CHECK __attribute__((warn_unused_result))
#define EC_API __attribute__((visibility("default")))
#else
#define EC_MUST_CHECK
#define EC_API
#endif

#define EC_RUNTIME_VERSION_MAJOR 0
#define EC_RUNTIME_VERSION_MINOR 1

#define EC_MAX_THREADS 256

/* Status codes. 0x1_ caller, 0x2_ resource, 0x3_ artefact, 0x4_ device. Append only. */
typedef enum ec_status {
  EC_OK = 0,
  EC_ERROR_ARGUMENT = 0x10,         /* NULL or out of range */
  EC_ERROR_INPUT_NAME = 0x11,       /* no port of that name */
  EC_ERROR_INPUT_BYTES = 0x12,      /* wrong number of bytes for the port */
  EC_ERROR_MEMORY_TOO_SMALL = 0x13, /* memory given to init is too small or misaligned */
  EC_ERROR_ROUNDS = 0x14,           /* the inputs ask a loop for more rounds than was built */
  EC_ERROR_BRANCH = 0x15, /* the inputs choose a branch that does not fit the shapes */
  EC_ERROR_SHAPE = 0x16,  /* an input cannot have this shape */
  EC_ERROR_COUNT = 0x17,  /* a call counts more, or fewer, than there is room for */
  EC_ERROR_OUT_OF_MEMORY = 0x20,
  EC_ERROR_FILE = 0x21,           /* weights file missing or unreadable */
  EC_ERROR_THREAD = 0x22,         /* a worker thread could not be started */
  EC_ERROR_DESCRIPTOR = 0x30,     /* magic, bounds or counts are wrong */
  EC_ERROR_VERSION = 0x31,        /* descriptor of another ABI version */
  EC_ERROR_WEIGHTS_BYTES = 0x32,  /* weights file has another size */
  EC_ERROR_WEIGHTS_HASH = 0x33,   /* weights file has other contents */
  EC_ERROR_CPU_FEATURE = 0x40,    /* this processor lacks what the kernels use */
  EC_ERROR_DEVICE_ABSENT = 0x41,  /* a call needs a back end that is not built in or present */
  EC_ERROR_DEVICE = 0x42,         /* the back end failed */
  EC_ERROR_DEVICE_FEATURE = 0x43, /* this device lacks what the kernels use */
  EC_ERROR_DEVICE_BUILD = 0x44,   /* its driver does not compile the kernels; the message has
                                     the beginning of what it says */
  EC_ERROR_DEVICE_MEMORY = 0x45,  /* it has no more memory */
  EC_ERROR_DEVICE_LOST = 0x46     /* it stopped working; only a new session can go on */
} ec_status;

/* Which plan of a model a session runs. Append only. */
typedef enum ec_plan_choice {
  EC_PLAN_ANY = 0, /* the model's own; where it fails with 0x41 to 0x46 while it is opened, its
                      CPU plan if it has one (ec_session_device_failure) */
  EC_PLAN_DEVICE = 1, /* the model's own or none */
  EC_PLAN_CPU = 2     /* calls of the CPU alone */
} ec_plan_choice;

typedef struct ec_session ec_session; /* opaque */

typedef struct ec_open_options {
  uint64_t struct_bytes;    /* sizeof(ec_open_options) */
  const char *weights_path; /* side file, mapped read-only; NULL: embedded weights. The string
                               is not kept; the file must not be shortened until close */
  const void *weights;      /* weights already in memory, 64-byte aligned; must outlive the
                               session; wins over weights_path */
  uint64_t weights_bytes;   /* of `weights` */
  uint32_t threads;         /* including the caller, at most EC_MAX_THREADS; 0 means 1 */
  uint32_t skip_hash;       /* 1: trust the weights' contents (their size is still checked) */
  const uint32_t
      *thread_shares;       /* `threads` weights for slicing work, the caller's first, whose
                               sum is 1 to UINT32_MAX; or NULL for equal. Not kept */
  const char *device_name;  /* part of the name of the device, or of its platform, that calls
                               for a GPU run on, of which the model must have some; NULL: a GPU
                               before others. Not kept */
  const char *device_cache; /* folder that exists, for what drivers make of programs: the next
                               open is faster; NULL: none. Not kept */
  uint32_t plan;            /* ec_plan_choice */
  uint32_t reserved;        /* zero */
} ec_open_options;

typedef struct ec_call_profile {
  uint64_t runs;
  uint64_t total_ns;
  uint64_t minimum_ns;
} ec_call_profile;

/* Defaults: embedded weights, one thread, hash checked. */
EC_API ec_open_options ec_open_options_default(void);

/* Short name of a status ("weights_hash"); never NULL. */
EC_API const char *ec_status_name(ec_status status);

/* One line about the calling thread's last failure, for people. In the thread's own storage,
 * valid until its next failing ec_ call. Never NULL; "" before any failure and in builds with
 * EC_NO_MESSAGES. */
EC_API const char *ec_last_message(void);

/* Bytes of memory that ec_session_init needs for this model and these options (NULL:
 * defaults), whichever plan it then opens. Looks neither at the weights nor at the machine. */
EC_API EC_MUST_CHECK ec_status ec_session_memory(const ec_model *model,
                                                 const ec_open_options *options,
                                                 uint64_t *out_bytes);

/* Build a session inside `memory` (64-byte aligned, owned by the caller, live until close).
 * Checks the descriptor, the processor and the weights, maps the weights' file and starts the
 * threads; takes no other memory. `model` must stay valid until close. */
EC_API EC_MUST_CHECK ec_status ec_session_init(const ec_model *model,
                                               const ec_open_options *options, void *memory,
                                               uint64_t memory_bytes,
                                               ec_session **out_session);

/* The same with memory from the system, which close gives back. */
EC_API EC_MUST_CHECK ec_status ec_session_open(const ec_model *model,
                                               const ec_open_options *options,
                                               ec_session **out_session);

/* Stop the threads, unmap the weights, give back the memory of ec_session_open. NULL is
 * allowed. Not while another thread uses the session. */
EC_API void ec_session_close(ec_session *session);

/* The descriptor that the session runs: the one it was opened with, or that one's CPU plan.
 * Calls and tensors of a session are numbered by it. NULL for NULL. */
EC_API const ec_model *ec_session_model(const ec_session *session);

/* Why the session runs the CPU plan in the place of the model's own: the status that opening
 * the device had. EC_OK where nothing failed. `out_message` may be NULL; it gets the text of
 * the failure, which lives until close, "" where there is none. */
EC_API ec_status ec_session_device_failure(const ec_session *session,
                                           const char **out_message);

/* Index of a port by name; EC_ERROR_INPUT_NAME when there is none. */
EC_API EC_MUST_CHECK ec_status ec_model_input_index(const ec_model *model, const char *name,
                                                    uint32_t *out_index);
EC_API EC_MUST_CHECK ec_status ec_model_output_index(const ec_model *model, const char *name,
                                                     uint32_t *out_index);

/* Models with dynamic dimensions (model->dynamic is not NULL). A session begins with the
 * largest sizes. To change them, set the shapes of inputs, then fill the inputs (a new size
 * forgets what they held), run, and ask for the outputs' shapes. Inputs that share a dimension
 * by name all have the size that was set last. Memory is planned for the largest sizes:
 * changing them allocates nothing. All data is contiguous at its actual shape. */

/* Set the shape of an input: `rank` dimensions. EC_ERROR_SHAPE, changing nothing, for one that
 * is out of the model's bounds. An input whose shape is fixed takes just that shape. */
EC_API EC_MUST_CHECK ec_status ec_session_set_input_shape(ec_session *session, uint32_t index,
                                                          const int64_t *shape, uint32_t rank);

/* The shape that a port has now: `out_shape` has room for EC_MAX_RANK dimensions. A dimension
 * that the data decides (`is_counted` of its symbol) is the largest before the first run, then
 * that of the last run; an output is contiguous at that shape, of no bytes where it is 0. A
 * run that counts more, or fewer, than the model has room for fails with EC_ERROR_COUNT. */
EC_API EC_MUST_CHECK ec_status ec_session_input_shape(const ec_session *session,
                                                      uint32_t index, int64_t *out_shape,
                                                      uint32_t *out_rank);
EC_API EC_MUST_CHECK ec_status ec_session_output_shape(const ec_session *session,
                                                       uint32_t index, int64_t *out_shape,
                                                       uint32_t *out_rank);

/* Copy a contiguous row-major array into an input; `bytes` must be the port's size. */
EC_API EC_MUST_CHECK ec_status ec_session_set_input(ec_session *session, uint32_t index,
                                                    const void *data, uint64_t bytes);

/* The input's own memory (64-byte aligned), for writing in place. Contents are lost by every
 * run, so fill it before each. Valid until close. */
EC_API EC_MUST_CHECK ec_status ec_session_input_data(ec_session *session, uint32_t index,
                                                     void **out_data, uint64_t *out_bytes);

/* Compute the outputs from the inputs. */
EC_API EC_MUST_CHECK ec_status ec_session_run(ec_session *session);

/* Copy an output out; `bytes` must be the port's size. */
EC_API EC_MUST_CHECK ec_status ec_session_get_output(const ec_session *session, uint32_t index,
                                                     void *data, uint64_t bytes);

/* The output's own memory (64-byte aligned). Contents hold until the next run, the next write
 * to an input, or close. */
EC_API EC_MUST_CHECK ec_status ec_session_output_data(const ec_session *session,
                                                      uint32_t index, const void **out_data,
                                                      uint64_t *out_bytes);

/* Run once and add each call's time to `profiles` (one per call of the model, zeroed by the
 * caller before the first use). `runs` counts the rounds of a loop, and stays as it was for a
 * branch that is not taken. Calls are made one by one, also those of strips (model.h), each
 * shared by all threads: with several threads the sum is not what a run takes. */
EC_API EC_MUST_CHECK ec_status ec_session_run_profiled(ec_session *session,
                                                       ec_call_profile *profiles,
                                                       uint32_t profile_count);

/* Run the calls before `call_count` only, then read any tensor of the plan as it then is: for
 * finding the layer where numbers part. Of a loop that has calls beyond, the first round. A
 * tensor that a GPU used last is brought from there: EC_ERROR_DEVICE or its like where that
 * fails. */
EC_API EC_MUST_CHECK ec_status ec_session_run_prefix(ec_session *session, uint32_t call_count);
EC_API EC_MUST_CHECK ec_status ec_session_tensor_data(const ec_session *session,
                                                      uint32_t tensor, const void **out_data,
                                                      uint64_t *out_bytes);

#ifdef __cplusplus
}
#endif
#endif /* EDGECOMP_EDGECOMP_H */
