    (loop $for-ever (br $for-ever))
    (i32.const 128)
