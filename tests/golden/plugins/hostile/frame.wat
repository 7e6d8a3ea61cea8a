;; A batcher that describes itself and takes any settings; what stands for DECIDE below decides.
;; Byte 0: the description, three texts as pointer and length. Byte 64: the result of `configure`,
;; all zero, which is success. Byte 128: the answer of `decide`. Byte 1024: what the host passes in.
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\07\00\00\00\27\00\00\00\05\00\00\00\20\00\00\00\07\00\00\00")
  (data (i32.const 32) "hostile0.0.1")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "truststram:policy/lifecycle@0.1.0#describe") (result i32) (i32.const 0))
  (func (export "truststram:policy/lifecycle@0.1.0#configure") (param i32 i32) (result i32)
    (i32.const 64))
  (func (export "truststram:policy/lifecycle@0.1.0#snapshot") (result i32) (i32.const 64))
  (func (export "truststram:policy/lifecycle@0.1.0#restore") (param i32 i32) (result i32)
    (i32.const 64))
  (func (export "truststram:policy/batching@0.1.0#decide")
    (param $bucket i32) (param $queued i32) (param $oldest-us i32) (param $batch-max i32) (param $target-us i32)
    (result i32)
    ;; DECIDE
  ))
