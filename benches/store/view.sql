SELECT * FROM mv_model_performance;
