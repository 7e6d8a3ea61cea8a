    (i32.store (i32.const 128) (i32.const -1))
    (i32.store (i32.const 132) (i32.const -1))
    (i32.const 128)
